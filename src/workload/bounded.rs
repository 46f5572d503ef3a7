//! Maps and lists of a tool's output that hold no more than they should: one that is as long as the output takes many
//! times its size in memory.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// A map of at most `MOST` entries, for `#[serde(deserialize_with)]`; of a key that is there twice the last counts.
pub(super) fn map<'de, const MOST: usize, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_map(Few::<MOST, K, V>(PhantomData))
}

struct Few<const MOST: usize, K, V>(PhantomData<(K, V)>);

impl<'de, const MOST: usize, K, V> Visitor<'de> for Few<MOST, K, V>
where
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    type Value = BTreeMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of at most {MOST} entries")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = BTreeMap::new();
        while let Some((key, value)) = map.next_entry()? {
            found.insert(key, value);
            if found.len() > MOST {
                return Err(M::Error::custom(format!("more than {MOST} entries")));
            }
        }
        Ok(found)
    }
}

/// A list of at most `MOST` elements, for `#[serde(deserialize_with)]`.
pub(super) fn list<'de, const MOST: usize, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_seq(Short::<MOST, T>(PhantomData))
}

struct Short<const MOST: usize, T>(PhantomData<T>);

impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for Short<MOST, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST} elements")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let mut found = Vec::new();
        while let Some(element) = seq.next_element()? {
            if found.len() == MOST {
                return Err(S::Error::custom(format!("more than {MOST} elements")));
            }
            found.push(element);
        }
        Ok(found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Two {
        #[serde(default, deserialize_with = "map::<2, _, _, _>")]
        a: BTreeMap<u32, f64>,
        #[serde(default, deserialize_with = "list::<2, _, _>")]
        b: Vec<f64>,
    }

    #[test]
    fn a_map_ends_where_it_should() {
        let read = |text: &str| serde_json::from_str::<Two>(text).map(|two| two.a.len());
        assert_eq!(read(r#"{"a": {"1": 1, "2": 2, "2": 3}}"#).unwrap(), 2);
        assert_eq!(read("{}").unwrap(), 0);
        let error = read(r#"{"a": {"1": 1, "2": 2, "3": 3}}"#).unwrap_err();
        assert!(error.to_string().contains("more than 2 entries"), "{error}");
        assert!(read(r#"{"a": [1]}"#).is_err());
    }

    #[test]
    fn a_list_ends_where_it_should() {
        let read = |text: &str| serde_json::from_str::<Two>(text).map(|two| two.b);
        assert_eq!(read(r#"{"b": [1, 2]}"#).unwrap(), [1.0, 2.0]);
        assert_eq!(read("{}").unwrap(), [0.0; 0]);
        // What comes after is not read, and need not be right.
        let error = read(r#"{"b": [1, 2, 3, "#).unwrap_err();
        assert!(error.to_string().contains("more than 2 elements"), "{error}");
        assert!(read(r#"{"b": {"1": 1}}"#).is_err());
    }
}
