{{ checked_range('bits28_active_in_range', '((bits >> (1 - start_offset - n_bits)) & ((1 << n_bits) - 1)) != 0') }}
