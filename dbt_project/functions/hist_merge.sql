(
    select
        if(
            min(h.layout) != max(h.layout),
            error(format(
                'hist_merge: layouts %s and %s differ; merge only histograms of one layout', min(h.layout), max(h.layout)
            )),
            struct(
                min(h.layout) as layout,
                sum(h.sum) as sum,
                array(
                    select as struct x.bucket as bucket, x.count as count
                    from (
                        select b.bucket as bucket, sum(b.count) as count
                        from unnest(list) as g
                        cross join unnest(g.buckets) as b
                        group by b.bucket
                    ) as x
                    order by x.bucket
                ) as buckets
            )
        )
    from unnest(list) as h
)
