if(
    not regexp_contains(s, r'^[01]{1,28}$'),
    error(format("bits28_from_string: '%s' is not 1 to 28 characters of 0 and 1", s)),
    (select sum(if(digit = '1', 1 << (length(s) - 1 - place), 0)) from unnest(split(s, '')) as digit with offset as place)
)
