{#- A relation with the one column `holiday`: the dates of the US federal holidays of `year_count`
    years from `first_year`. Each is the first `weekday` (Monday is 1) on or after a day of the year,
    or that day itself where no weekday is given: the fourth Thursday of November is the first one
    on or after the 22nd. Days in lieu, when a fixed date falls on a weekend, are not holidays here:
    offices close on them and flights do not thin out. -#}
{% macro federal_holidays(first_year, year_count) -%}
    {%- set anchor = 'make_date(cast(' ~ first_year ~ ' + n as integer), rule.month, rule.day)' -%}
    (
        select
            {{ add_days(
                anchor, 'coalesce(mod(rule.weekday - ' ~ iso_day_of_week(anchor) ~ ' + 7, 7), 0)'
            ) }} as holiday
        from {{ number_series(year_count) }} as years
        cross join (
            values
            (1, 1, null), -- New Year's Day
            (1, 15, 1), -- Martin Luther King Jr. Day
            (2, 15, 1), -- Washington's Birthday
            (5, 25, 1), -- Memorial Day
            (7, 4, null), -- Independence Day
            (9, 1, 1), -- Labor Day
            (10, 8, 1), -- Columbus Day
            (11, 11, null), -- Veterans Day
            (11, 22, 4), -- Thanksgiving
            (12, 25, null) -- Christmas Day
        ) as rule (month, day, weekday)
    )
{%- endmacro %}
