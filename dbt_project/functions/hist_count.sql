(select ifnull(sum(b.count), 0) from unnest((hist).buckets) as b)
