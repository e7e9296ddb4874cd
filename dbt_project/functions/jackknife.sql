{#- 2.093024 is the 97.5% quantile of Student's t with 19 degrees of freedom. -#}
if(
    array_length(list) != 20,
    error(format('jackknife: %d buckets are given; give all 20 client buckets, those without a client too', array_length(list))),
    (
        select struct(estimate as estimate, estimate - margin as low, estimate + margin as high)
        from (
            select
                any_value(estimate) as estimate,
                2.093024 * if(count(deviation) = 20, sqrt(0.95 * sum(deviation * deviation)), null) as margin
            from (
                select estimate, without_it - avg(without_it) over () as deviation
                from (
                    select
                        if(d is null, n, safe_divide(n, d)) as estimate,
                        if(d is null, (n - numerator) * 20 / 19, safe_divide(n - numerator, d - denominator)) as without_it
                    from (
                        select
                            ifnull(b.numerator, 0) as numerator,
                            ifnull(b.denominator, 0) as denominator,
                            sum(ifnull(b.numerator, 0)) over () as n,
                            sum(b.denominator) over () as d
                        from unnest(list) as b
                    )
                )
            )
        )
    )
)
