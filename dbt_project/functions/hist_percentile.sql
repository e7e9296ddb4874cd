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
        where up_to >= p * total
    )
)
