{%- set window = partition_window() -%}
{%- set first_year = window.first_day[:4] | int -%}
{%- set last_year = window.last_day[:4] | int -%}
-- Each day publishes its own calendar and the next day's: a flight soon after midnight is predicted
-- on the day before.
with days as (
    select
        {{ add_days("date '" ~ window.first_day ~ "'", 'series.n') }} as feature_day,
        {{ add_days("date '" ~ window.first_day ~ "'", 'series.n + ahead.n') }} as flight_date
    from {{ number_series(window.days) }} as series
    cross join {{ number_series(2) }} as ahead
),

holidays as {{ federal_holidays(first_year, last_year + 2 - first_year) }}

select
    days.feature_day,
    {{ start_of_day('days.feature_day') }} as feature_at,
    days.flight_date,
    {{ iso_day_of_week('days.flight_date') }} as day_of_week,
    cast(extract(week from days.flight_date) as integer) as week_of_year,
    cast(extract(month from days.flight_date) as integer) as month_of_year,
    {{ iso_day_of_week('days.flight_date') }} >= 6 as is_weekend,
    cast(min(
        case when holidays.holiday <= days.flight_date
            then {{ days_between('holidays.holiday', 'days.flight_date') }} end
    ) as integer) as days_since_holiday,
    cast(min(
        case when holidays.holiday >= days.flight_date
            then {{ days_between('days.flight_date', 'holidays.holiday') }} end
    ) as integer) as days_until_holiday
from days
cross join holidays
where {{ in_window('days.feature_day') }}
group by days.feature_day, days.flight_date
