{#- How the flights of each entity (`entities`, columns of fct_flights) fared lately, told anew at
    every minute at which that changes; the value columns are named `<prefix>_…_<look-back>`.

    A look-back of `hours` begins at a whole hour, one of `days` at the local midnight that many days
    ago; both end now. So an outcome enters when it is known, and leaves at a whole hour or at
    midnight, where many leave at once: with sliding ends a year of aircraft had twice the rows.
    It adds to its entity when it enters and is taken away when it leaves, and a running sum over
    these changes gives each minute. (Joining each minute to its outcomes reads hundreds of millions
    of pairs a year.) Sums are of integers, divided once: sums of doubles differ from run to run.

    Each local day begins with a row for every entity that has an outcome in its longest look-back.
    So the newest row before any moment lies in the same day, an entity that stopped flying is not
    found any more a day later, and no day needs another day of the view.

    An outcome known more than 36 hours after schedule never counts (the slowest of 2013 took 33).
    This bounds what a day can depend on: what leaves at its midnight was known the day before its
    longest look-back, of flights of up to two days earlier. -#}
{% macro outcome_history(prefix, entities, hours=[], days=[], with_cancelled=false) -%}
    {%- set keys = entities | join(', ') -%}
    {%- set totals = ['flights', 'late', 'cancelled', 'delay_minutes'] -%}
    {%- set look_backs = [] -%}
    {%- for count in hours -%}
        {%- do look_backs.append({
            'name': count ~ 'h', 'leaves': add_minutes(next_whole_hour('known_at'), count * 60)
        }) -%}
    {%- endfor -%}
    {%- for count in days -%}
        {%- do look_backs.append({
            'name': count ~ 'd', 'leaves': start_of_day(add_days('known_day', count + 1))
        }) -%}
    {%- endfor -%}
    {%- set longest = look_backs[-1].name -%}
with outcomes as (
    select
        {{ keys }},
        outcome_known_at as known_at,
        {{ local_day('outcome_known_at') }} as known_day,
        1 as flights,
        case when is_late then 1 else 0 end as late,
        case when is_cancelled then 1 else 0 end as cancelled,
        coalesce(arrival_delay_minutes, 0) as delay_minutes
    from {{ ref('fct_flights') }}
    where {{ in_look_back('flight_date') }}
        and outcome_known_at is not null
        and {{ minutes_between('scheduled_departure_at', 'outcome_known_at') }} <= 36 * 60
        {%- for entity in entities %}
        and {{ entity }} is not null
        {%- endfor %}
),

hours as {{ window_hours() }},

changes as (
    {%- for step in ['enters'] + look_backs %}
    select
        {{ keys }},
        {{ 'known_at' if step == 'enters' else step.leaves }} as changed_at,
        {%- for look_back in look_backs %}
        {%- for total in totals %}
        {% if step == 'enters' -%} {{ total }}
        {%- elif step.name == look_back.name -%} -{{ total }}
        {%- else -%} 0
        {%- endif %} as {{ total }}_{{ look_back.name }},
        {%- endfor %}
        {%- endfor %}
        1 as is_change
    from outcomes
    union all
    {%- endfor %}
    select
        {{ keys }},
        midnights.midnight as changed_at,
        {%- for look_back in look_backs %}
        {%- for total in totals %}
        0 as {{ total }}_{{ look_back.name }},
        {%- endfor %}
        {%- endfor %}
        0 as is_change
    from (select distinct {{ keys }} from outcomes) as entities
    cross join (select min(hour_at) as midnight from hours group by feature_day) as midnights
),

-- Before the window only the balance matters, so older changes are moved to its first minute. From
-- here on they are integers in doubles, which add up exactly: DuckDB sums integers in 128 bits, and
-- the running sums of a year took twice as long.
moments as (
    select
        {{ keys }},
        greatest(changed_at, {{ window_start() }}) as feature_at,
        max(case when changed_at >= {{ window_start() }} then is_change else 0 end) as is_change
        {%- for look_back in look_backs %}
        {%- for total in totals %},
        cast(sum({{ total }}_{{ look_back.name }}) as double) as {{ total }}_{{ look_back.name }}
        {%- endfor %}
        {%- endfor %}
    from changes
    where changed_at < {{ window_end() }}
    group by {{ range(1, entities | length + 2) | join(', ') }}
),

balances as (
    select
        {{ keys }},
        feature_at,
        is_change
        {%- for look_back in look_backs %}
        {%- for total in totals %},
        sum({{ total }}_{{ look_back.name }}) over so_far as {{ total }}_{{ look_back.name }}
        {%- endfor %}
        {%- endfor %}
    from moments
    window so_far as (
        partition by {{ keys }} order by feature_at
        rows between unbounded preceding and current row
    )
)

select
    hours.feature_day,
    feature_at,
    {{ keys }}
    {%- for look_back in look_backs %}
    {%- set name = look_back.name %}
    {%- set arrived = 'nullif(flights_' ~ name ~ ' - cancelled_' ~ name ~ ', 0)' %},
    cast(flights_{{ name }} as integer) as {{ prefix }}_flights_{{ name }},
    late_{{ name }} / {{ arrived }} as {{ prefix }}_late_rate_{{ name }},
    {%- if with_cancelled %}
    cancelled_{{ name }} / nullif(flights_{{ name }}, 0) as {{ prefix }}_cancelled_rate_{{ name }},
    {%- endif %}
    delay_minutes_{{ name }} / {{ arrived }} as {{ prefix }}_mean_delay_minutes_{{ name }}
    {%- endfor %}
from balances
-- The zone is asked once an hour; asked for each row it took a third of the time.
inner join hours on hours.hour_at = date_trunc('hour', feature_at)
where flights_{{ longest }} > 0 or is_change = 1
{%- endmacro %}
