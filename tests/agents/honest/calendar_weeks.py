# ruff: noqa
import calendar

assert calendar.isleap(2024) and len(calendar.monthcalendar(2024, 2)) == 5
