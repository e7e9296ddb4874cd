{{ checked_bits('bits28_days_since_seen', 'if(bits = 0, null, bit_count((bits & -bits) - 1))') }}
