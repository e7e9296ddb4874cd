{{ checked_bits('shift_28_bits_one_day', 'ifnull((bits << 1) & ' ~ mask_28_bits() ~ ', 0)') }}
