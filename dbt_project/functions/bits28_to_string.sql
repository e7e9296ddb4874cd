{{ checked_bits('bits28_to_string', "
    (select string_agg(cast((bits >> place) & 1 as string), '' order by place desc) from unnest(generate_array(0, 27)) as place)
") }}
