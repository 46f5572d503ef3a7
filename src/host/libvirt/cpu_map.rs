//! libvirt's bit maps of CPUs. Does not know which CPUs exist.

use crate::tunable::CpuSet;

/// From libvirt's map: bit `n % 8` of byte `n / 8` is CPU `n`.
pub(super) fn from_bits(bits: &[u8]) -> CpuSet {
    let flags = bits
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    (0u16..)
        .zip(flags)
        .filter_map(|(cpu, set)| set.then_some(cpu))
        .collect()
}

/// To libvirt's map, as short as possible.
pub(super) fn to_bits(cpus: &CpuSet) -> Vec<u8> {
    let length = cpus.iter().last().map_or(0, |last| usize::from(last) / 8 + 1);
    let mut bits = vec![0u8; length];
    for cpu in cpus.iter() {
        bits[usize::from(cpu) / 8] |= 1 << (cpu % 8);
    }
    bits
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_are_numbered_from_the_lowest() {
        assert_eq!(from_bits(&[0b0000_0101, 0b1000_0000]), "0,2,15".parse().unwrap());
        assert_eq!(to_bits(&"9".parse().unwrap()), [0, 2]);
        assert!(to_bits(&CpuSet::default()).is_empty());
    }

    proptest! {
        #[test]
        fn maps_survive_a_round_trip(cpus in proptest::collection::btree_set(0u16..2000, 0..50)) {
            let set = CpuSet(cpus);
            prop_assert_eq!(from_bits(&to_bits(&set)), set);
        }
    }
}
