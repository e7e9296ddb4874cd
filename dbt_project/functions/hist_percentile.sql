if(
    p not between 0 and 1,
    error(format('hist_percentile: %t is not between 0 and 1', p)),
    (
        select min(bucket)
        from (
            select
                b.bucket as bucket,
                sum(b.count) over (order by b.bucket) as up_to,
                sum(b.count) over () as total
            from unnest((hist).buckets) as b
            where b.count > 0
        )
        -- A share is compared as a share: 55 / 100 is 0.55, and 0.55 * 100 is above 55. Counts beyond 2^53 are not whole
        -- as FLOAT64, but a share of at most nine decimals is exact as NUMERIC.
        where if(cast(cast(p as numeric) as float64) = p, up_to >= cast(p as numeric) * total, up_to / total >= p)
    )
)
