{{ checked_bits('bits28_retention', retention_days()) }}
