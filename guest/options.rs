//! Options of a verb: `--name` and `--name VALUE`, each once.

use super::Failure;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

#[derive(Debug)]
pub(crate) struct Options<'a> {
    verb: &'static str,
    given: Vec<(&'a str, &'a str)>,
}

impl<'a> Options<'a> {
    /// The options in `arguments`: `flags` stand alone, `keys` have a value.
    pub(crate) fn read(
        verb: &'static str,
        arguments: &'a [String],
        flags: &[&str],
        keys: &[&str],
    ) -> Result<Self, Failure> {
        let mut options = Self {
            verb,
            given: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            let name = option.strip_prefix("--").unwrap_or_default();
            let value = if flags.contains(&name) {
                ""
            } else if keys.contains(&name) {
                rest.next()
                    .ok_or_else(|| options.wrong(format_args!("--{name} has no value")))?
            } else {
                return Err(options.wrong(format_args!("no such option: {option:?}")));
            };
            if options.has(name) {
                return Err(options.wrong(format_args!("--{name} is given twice")));
            }
            options.given.push((name, value));
        }
        Ok(options)
    }

    /// Whether an option is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The value of an option that is there.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.given.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value)
    }

    /// The value of an option that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&'a str, Failure> {
        self.get(name)
            .ok_or_else(|| self.wrong(format_args!("--{name} is missing")))
    }

    /// A value that must be there and make sense.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Failure> {
        let text = self.required(name)?;
        text.parse()
            .map_err(|e| self.wrong(format_args!("--{name} {text:?}: {e}")))
    }

    /// A whole number, `default` where it is not given; without a default it must be.
    pub(crate) fn number(
        &self,
        name: &str,
        default: Option<u64>,
        range: RangeInclusive<u64>,
    ) -> Result<u64, Failure> {
        if let (None, Some(default)) = (self.get(name), default) {
            return Ok(default);
        }
        let number = self.parsed(name)?;
        if range.contains(&number) {
            return Ok(number);
        }
        let (first, last) = range.into_inner();
        Err(self.wrong(format_args!("--{name} {number} is not from {first} to {last}")))
    }

    /// A mistake in the options of this verb.
    pub(crate) fn wrong(&self, what: impl Display) -> Failure {
        Failure::usage(format!("{}: {what}", self.verb))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn flags_and_values_are_told_apart() {
        let line = ["--on", "--port", "5", "--name", "--x"].map(String::from);
        let options = Options::read("v", &line, &["on", "off"], &["port", "name"]).unwrap();
        assert!(options.has("on") && !options.has("off"));
        assert_eq!(options.number("port", None, 1..=9).unwrap(), 5);
        assert_eq!(options.required("name").unwrap(), "--x");
        assert_eq!(options.number("off", Some(3), 1..=9).unwrap(), 3);
    }

    #[test]
    fn mistakes_name_the_option() {
        let read = |line: &str| {
            let words: Vec<String> = line.split(' ').map(String::from).collect();
            let options = Options::read("v", &words, &["on"], &["port"])?;
            options.number("port", None, 1..=9)
        };
        for (line, words) in [
            ("--on", "--port is missing"),
            ("--port", "--port has no value"),
            ("--port 0", "--port 0 is not from 1 to 9"),
            ("--port ten", "--port \"ten\""),
            ("--port 99999999999999999999", "too large"),
            ("--port 1 --port 2", "--port is given twice"),
            ("--on 1", "no such option: \"1\""),
            ("-on", "no such option"),
        ] {
            let failure = read(line).unwrap_err();
            assert!(
                failure.exit == 2 && failure.message.contains(words),
                "{line}: {failure:?}"
            );
        }
    }
}
