//! Which text does JSON have for a date?
//!
//! Own code, since libraries end at the year 9999.

/// The range of dates in JavaScript: 100,000,000 days around 1970.
const MAX_MILLIS: i64 = 8_640_000_000_000_000;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// The date this many milliseconds after the beginning of 1970, as `JSON.stringify(new Date(millis))`
/// writes it ([ECMA-262 §21.4.1.32]). `None` beyond the range of dates, where it writes `null`.
///
/// [ECMA-262 §21.4.1.32]: https://tc39.es/ecma262/#sec-date-time-string-format
pub(super) fn iso_8601(millis: i64) -> Option<String> {
    if !(-MAX_MILLIS..=MAX_MILLIS).contains(&millis) {
        return None;
    }
    let (year, month, day) = date_of(millis.div_euclid(DAY_MILLIS));
    let millis = millis.rem_euclid(DAY_MILLIS);
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    let (second, millis) = (millis / 1000 % 60, millis % 1000);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
}

/// Year, month and day of the Gregorian calendar, this many days after the beginning of 1970.
///
/// It counts in eras of 400 years, and in years that begin in March, so that the leap day is the last
/// one.
const fn date_of(days: i64) -> (i64, i64, i64) {
    // From the first of March of the year 0.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What node writes.
    #[test]
    fn dates_are_written_as_json_has_them() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (-2_203_977_600_000, "1900-02-28T00:00:00.000Z"),
            (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"),
            (1_709_210_096_789, "2024-02-29T12:34:56.789Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (MAX_MILLIS, "+275760-09-13T00:00:00.000Z"),
            (-MAX_MILLIS, "-271821-04-20T00:00:00.000Z"),
        ] {
            assert_eq!(iso_8601(millis).as_deref(), Some(text), "{millis}");
        }
        for millis in [MAX_MILLIS + 1, -MAX_MILLIS - 1, i64::MAX, i64::MIN] {
            assert_eq!(iso_8601(millis), None, "{millis}");
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        const LENGTHS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        // 1600-01-01.
        let (mut days, mut expected) = (-135_140, (1600, 1, 1));
        for _ in 0..146_097 * 2 {
            assert_eq!(date_of(days), expected);
            days += 1;
            let (year, month, day) = expected;
            let leap_day = i64::from(month == 2 && is_leap(year));
            let length = LENGTHS[usize::try_from(month).unwrap() - 1] + leap_day;
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                _ if day == length => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}
