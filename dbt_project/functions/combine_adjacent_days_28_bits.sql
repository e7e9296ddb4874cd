if(
    prev not between 0 and {{ mask_28_bits() }} or curr not between 0 and {{ mask_28_bits() }},
    error(format('combine_adjacent_days_28_bits: %d and %d are not both patterns of 28 bits', prev, curr)),
    (ifnull(prev << 1, 0) & {{ mask_28_bits() }}) | ifnull(curr, 0)
)
