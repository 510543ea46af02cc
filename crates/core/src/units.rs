//! Times and sizes as people write them: `1m30s`, `4MiB`. Parsers and printers without I/O.

use std::time::{Duration, SystemTime};

/// The reason why a text is not a time or a size. It never repeats the text, which may come from a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(&'static str);

/// Units of time and their nanoseconds, largest first. Source: Go's `time.ParseDuration`.
const TIMES: &[(&str, u64)] = &[
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size and their bytes. The binary ones come first and largest first, for the printer.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a time as Go writes it: `30s`, `1m30s`, `500ms`, `1.5h`.
///
/// # Errors
///
/// [`UnitError`] if there is no number, no known unit (also for a bare `0`), or more than 500 years.
pub fn parse_time(text: &str) -> Result<Duration, UnitError> {
    const TOO_LONG: UnitError = UnitError("that is more than 500 years");
    if text.starts_with(['-', '+']) {
        return Err(UnitError("a time has no sign"));
    }
    let mut nanos: u64 = 0;
    let mut rest = text;
    loop {
        let (number, after) = Number::take(rest).ok_or(UnitError("give a number and a unit, such as 30s"))?;
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let unit = match unit {
            "" => return Err(UnitError("give a unit, such as 30s")),
            "µs" | "μs" => "us",
            other => other,
        };
        let scale = scale_of(TIMES, unit).ok_or(UnitError("the units are h, m, s, ms, us and ns"))?;
        let part = number.times(scale).ok_or(TOO_LONG)?.0;
        nanos = nanos.checked_add(part).ok_or(TOO_LONG)?;
        rest = next;
        if rest.is_empty() {
            return Ok(Duration::from_nanos(nanos));
        }
    }
}

/// Reads a size in bytes: `4MiB`, `512KiB`, `1.5GiB`, decimal `kB`, `MB`, `GB`, or a bare number of bytes.
///
/// # Errors
///
/// [`UnitError`] if there is no number, no known unit, a fraction of a byte, or more than 64 bits hold.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = Number::take(text).ok_or(UnitError("give a number and a unit, such as 4MiB"))?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let scale = scale_of(SIZES, unit).ok_or(UnitError("the units are B, KiB, MiB, GiB, TiB, kB, MB, GB and TB"))?;
    match number.times(scale) {
        Some((bytes, true)) => Ok(bytes),
        Some((_, false)) => Err(UnitError("that is not a whole number of bytes")),
        None => Err(UnitError("that is more than 64 bits hold")),
    }
}

/// Prints a time so that [`parse_time`] reads it back: `1m30s`, `500ms`, `1.5s`, `0s`.
pub fn format_time(time: Duration) -> String {
    let (secs, nanos) = (time.as_secs(), time.subsec_nanos());
    if secs == 0 && nanos > 0 {
        return match nanos {
            1_000_000.. => format!("{}ms", with_fraction(0, nanos, 1_000_000)),
            1_000.. => format!("{}us", with_fraction(0, nanos, 1_000)),
            _ => format!("{nanos}ns"),
        };
    }
    let mut text = String::new();
    for (count, unit) in [(secs / 3600, "h"), (secs / 60 % 60, "m")] {
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    if text.is_empty() || !secs.is_multiple_of(60) || nanos > 0 {
        text += &format!("{}s", with_fraction(secs % 60, nanos, 1_000_000_000));
    }
    text
}

/// Prints a size exactly, in the largest binary unit that divides it: `4MiB`, `1536KiB`, `1000B`.
pub fn format_size(bytes: u64) -> String {
    let (unit, scale) =
        SIZES.iter().find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale)).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / scale)
}

/// Prints a size for people, where two or three digits are enough, in the unit that fits: `900 B`, `5.1 MiB`, `256 MiB`.
pub fn rounded_size(bytes: u64) -> String {
    // One that would be rounded to 1024 is one of the next unit.
    let fits = |scale: u64| bytes >= scale - scale / 2048;
    let (unit, scale) = SIZES[..4].iter().find(|(_, scale)| fits(*scale)).unwrap_or(&("B", 1));
    let tenths = ((u128::from(bytes) * 10 + u128::from(*scale) / 2) / u128::from(*scale)) as u64;
    match (tenths / 10, tenths % 10) {
        (whole @ 0..10, tenth @ 1..) => format!("{whole}.{tenth} {unit}"),
        (whole, tenth) => format!("{} {unit}", whole + tenth / 5),
    }
}

/// Prints how many there are: `1 event`, `2 events`. The noun is one that takes an s.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A decimal number as written, without rounding: `digits / 10^places`.
struct Number {
    digits: u64,
    places: u32,
}

impl Number {
    /// Takes a number off the front. `None` without a digit, with a second point, or with too many digits.
    fn take(text: &str) -> Option<(Number, &str)> {
        let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some((Number { digits, places: fraction.len() as u32 }, rest))
    }

    /// The number times `scale`, cut to a whole, and whether nothing was cut. `None` beyond 64 bits.
    fn times(&self, scale: u64) -> Option<(u64, bool)> {
        let product = u128::from(self.digits) * u128::from(scale);
        let divisor = 10u128.checked_pow(self.places)?;
        Some((u64::try_from(product / divisor).ok()?, product.is_multiple_of(divisor)))
    }
}

fn scale_of(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)
}

/// `whole` plus `part` nanoseconds in a unit of `unit` nanoseconds, without trailing zeros.
fn with_fraction(whole: u64, part: u32, unit: u32) -> String {
    let places = unit.ilog10() as usize;
    let text = format!("{}.{:0places$}", whole + u64::from(part / unit), part % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Prints a time for a log, where three digits are enough: `50ms`, `4.2s`, `41s`, `12m30s`.
pub fn seconds(time: Duration) -> String {
    let rounded = match time.as_millis() {
        0..1_000 => Duration::from_millis(time.as_millis() as u64),
        1_000..10_000 => Duration::from_millis((time.as_millis() as u64 + 50) / 100 * 100),
        _ => Duration::from_secs(time.as_secs()),
    };
    format_time(rounded)
}

/// Prints a time of the wall clock in UTC, to the second, as in RFC 3339: `2026-11-23T17:57:00Z`. A time before 1970
/// prints as 1970: a broken clock is no reason to fail.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of year 0, so that the leap day is the last of its year; 400 years have 146,097.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads a time as in RFC 3339, with any number of digits of a second and any offset. None if the text is no such time
/// or lies before 1970: Docker writes `0001-01-01T00:00:00Z` for never.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    fn number(text: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && range.contains(number))
    }
    let (date, time) = text.split_once(['T', 't'])?;
    let mut date = date.splitn(3, '-');
    let (year, month) = (number(date.next()?, 1970..=9999)?, number(date.next()?, 1..=12)?);
    let day = number(date.next()?, 1..=31)?;
    let (time, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let (time, offset) = time.split_at_checked(time.len().checked_sub(6)?)?;
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let seconds = (number(hours, 0..=23)? * 3600 + number(minutes, 0..=59)? * 60) as i64;
            match offset.as_bytes()[0] {
                b'+' => (time, seconds),
                b'-' => (time, -seconds),
                _ => return None,
            }
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (number(time.next()?, 0..=23)?, number(time.next()?, 0..=59)?);
    let second = number(time.next()?, 0..=60)?;
    let nanoseconds = number(fraction.get(..9).unwrap_or(fraction), 0..=999_999_999)?;
    let nanoseconds = nanoseconds * 10_u64.pow(9 - fraction.len().min(9) as u32);
    // As in `rfc3339`: years begin in March.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = (days * 86_400 + hour * 3600 + minute * 60 + second).checked_add_signed(-offset)?;
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds as u32))
}

/// Prints a length of time in two units: `3d 4h`, `12m 30s`, `41s`. Smaller units are cut off.
pub fn two_units(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = parts[first..].iter().take(2).enumerate().filter(|(at, (count, _))| *at == 0 || *count > 0);
    shown.map(|(_, (count, unit))| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_for_people_has_the_unit_that_fits() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (5_347_737, "5.1 MiB"),
            (10_444_800, "10 MiB"),
            (256 << 20, "256 MiB"),
            ((1 << 30) - 1, "1 GiB"),
            (4_080_218_931, "3.8 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(rounded_size(bytes), shown, "{bytes}");
        }
        assert_eq!(
            [counted(0, "event"), counted(1, "event"), counted(2, "event")],
            ["0 events", "1 event", "2 events"]
        );
    }

    #[test]
    fn times_in_a_log_have_the_digits_that_matter() {
        let shown = |millis| seconds(Duration::from_millis(millis));
        assert_eq!([shown(0), shown(50), shown(4_196), shown(41_730)], ["0s", "50ms", "4.2s", "41s"]);
    }

    #[test]
    fn wall_clock_times_are_rfc_3339() {
        let shown = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        // As `date -u -d @N --iso-8601=seconds` prints them.
        assert_eq!(shown(0), "1970-01-01T00:00:00Z");
        assert_eq!(shown(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(shown(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(shown(1_795_456_620), "2026-11-23T17:57:00Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn wall_clock_times_are_read_as_they_are_written_and_as_go_writes_them() {
        let read = |text: &str| parse_rfc3339(text).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        for second in [0, 68_169_600, 951_782_399, 951_782_400, 1_795_456_620, 4_107_542_400] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time), "{second}");
        }
        assert_eq!(read("2026-11-23T17:57:00.25Z"), Some(Duration::from_millis(1_795_456_620_250)));
        assert_eq!(read("2026-11-23T19:57:00.000000001+02:00"), Some(Duration::new(1_795_456_620, 1)));
        assert_eq!(read("2026-11-23T12:27:00-05:30"), Some(Duration::from_secs(1_795_456_620)));
        for text in [
            "",
            "T",
            "0001-01-01T00:00:00Z",
            "2026-11-23",
            "2026-13-23T17:57:00Z",
            "2026-11-23T17:57:00",
            "2026-11-23T17:57:00.Z",
            "2026-11-23T+7:57:00Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-23T17:57:00é00:00",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn lengths_of_time_print_in_two_units() {
        let shown = |seconds| two_units(Duration::from_secs(seconds));
        assert_eq!([shown(0), shown(41), shown(750), shown(3_600)], ["0s", "41s", "12m 30s", "1h"]);
        assert_eq!([shown(273_600 + 59), shown(86_400 + 59)], ["3d 4h", "1d"]);
    }

    #[test]
    fn a_time_is_read_as_go_reads_it() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1h", 3_600_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1h0.5m", 3_630_000),
            ("0s", 0),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_time("2us"), Ok(Duration::from_micros(2)));
        assert_eq!(parse_time("2µs"), Ok(Duration::from_micros(2)));
        assert_eq!(parse_time("2μs3ns"), Ok(Duration::from_nanos(2003)));
    }

    #[test]
    fn a_time_without_a_unit_says_to_give_one() {
        for text in ["30", "0", "1m30", "1.5"] {
            assert_eq!(parse_time(text).unwrap_err().to_string(), "give a unit, such as 30s", "{text}");
        }
    }

    #[test]
    fn a_malformed_time_is_refused() {
        for text in ["", "s", "fast", "-1s", "+1s", "1.2.3s", "1 s", "1d", "30S", ".s", "99999999999999999999s"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        assert_eq!(parse_time("9999999h").unwrap_err().to_string(), "that is more than 500 years");
        assert_eq!(parse_time("1d").unwrap_err().to_string(), "the units are h, m, s, ms, us and ns");
    }

    #[test]
    fn a_size_is_read_in_binary_and_decimal_units_and_in_bytes() {
        for (text, bytes) in [
            ("4MiB", 4 << 20),
            ("512KiB", 512 << 10),
            ("1GiB", 1 << 30),
            ("1.5GiB", 3 << 29),
            ("0.5KiB", 512),
            ("5kB", 5_000),
            ("5MB", 5_000_000),
            ("2GB", 2_000_000_000),
            ("7B", 7),
            ("4194304", 4 << 20),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_malformed_size_is_refused() {
        for text in ["", "MiB", "-1", "4mib", "4 MiB", "4KB", "1.5", "0.3KiB", "99999999TiB", "4MiBs"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(parse_size("1.5").unwrap_err().to_string(), "that is not a whole number of bytes");
    }

    #[test]
    fn times_and_sizes_print_in_the_form_they_are_written() {
        for text in ["0s", "30s", "1m30s", "500ms", "1.5s", "24h", "1h1s", "1m0.25s", "1.5ms", "7us", "9ns"] {
            assert_eq!(format_time(parse_time(text).unwrap()), text);
        }
        for text in ["0B", "4MiB", "1536KiB", "1000B", "1GiB", "16TiB"] {
            assert_eq!(format_size(parse_size(text).unwrap()), text);
        }
    }
}
