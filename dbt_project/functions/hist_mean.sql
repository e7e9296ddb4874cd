safe_divide((hist).sum, (select sum(b.count) from unnest((hist).buckets) as b))
