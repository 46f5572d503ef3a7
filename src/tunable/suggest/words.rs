//! Amounts as the arithmetic tells them: rounded to what the eye needs, never read back.

/// `a, b and c`.
pub(super) fn list(words: &[impl AsRef<str>]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        None => "none".into(),
        Some((last, [])) => (*last).into(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// An amount of memory: `121 KiB`, `1.5 GiB`.
pub(super) fn size(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["bytes", "KiB", "MiB", "GiB", "TiB"])
}

/// A rate: `1.1 Gbit/s`.
pub(super) fn rate(bits: u64) -> String {
    scaled(bits, 1000.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

/// A time: `0.9 ms`, `45 µs`.
pub(super) fn time(micros: u64) -> String {
    if micros < 100 {
        return format!("{micros} µs");
    }
    format!("{} ms", rounded(micros as f64 / 1000.0))
}

fn scaled(amount: u64, step: f64, units: &[&str]) -> String {
    let mut amount = amount as f64;
    let mut units = units.iter();
    let mut unit = units.next();
    // What would be shown as 1000 of a unit is 1 of the next.
    while amount >= step - 0.5
        && let Some(next) = units.next()
    {
        amount /= step;
        unit = Some(next);
    }
    format!("{} {}", rounded(amount), unit.unwrap_or(&""))
}

/// Two digits at the least, none behind the point from 100 on.
fn rounded(amount: f64) -> String {
    let text = if amount >= 99.95 {
        format!("{amount:.0}")
    } else if amount >= 1.0 {
        format!("{amount:.1}")
    } else {
        format!("{amount:.2}")
    };
    let is_whole = !text.contains('.');
    let short = text.trim_end_matches('0').trim_end_matches('.').to_string();
    if is_whole { text } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        for (shown, want) in [
            (size(0), "0 bytes"),
            (size(316), "316 bytes"),
            (size(123_750), "121 KiB"),
            (size(16 << 20), "16 MiB"),
            (size((3 << 30) / 2), "1.5 GiB"),
            (size((1 << 20) - 1), "1 MiB"),
            (rate(1_100_000_000), "1.1 Gbit/s"),
            (rate(999_999_999), "1 Gbit/s"),
            (time(900), "0.9 ms"),
            (time(45), "45 µs"),
            (time(12_345), "12.3 ms"),
            (list(&["a"]), "a"),
            (list(&["a", "b", "c"]), "a, b and c"),
        ] {
            assert_eq!(shown, want);
        }
    }
}
