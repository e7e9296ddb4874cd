(
    select value
    from unnest(list) as value with offset as place
    where value is not null
    group by value
    order by count(*) desc, max(place) desc
    limit 1
)
