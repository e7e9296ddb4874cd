{{ checked_bits('bits28_to_dates', "
    array(
        select date_sub(submission_date, interval place day)
        from unnest(generate_array(0, 27)) as place
        where (bits >> place) & 1 = 1
        order by place desc
    )
") }}
