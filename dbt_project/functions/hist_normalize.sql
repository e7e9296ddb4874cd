struct(
    (hist).layout as layout,
    array(
        select as struct b.bucket as bucket, b.count / (select sum(c.count) from unnest((hist).buckets) as c) as share
        from unnest((hist).buckets) as b
        where b.count > 0
        order by b.bucket
    ) as buckets
)
