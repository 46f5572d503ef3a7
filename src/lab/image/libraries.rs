//! Finds the shared libraries a set of programs needs, by asking `ldd`.
//! Libraries that a program opens by name at run time are not seen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::ImageError;
use super::command::{run, tool};

/// Every library, the loader included, that the programs need, under the path the loader uses.
pub(super) fn closure(programs: &[&Path]) -> Result<BTreeSet<PathBuf>, ImageError> {
    let output = run(tool("ldd").args(programs))?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Lines are `name => /path (0xaddress)`, `/path/of/loader (0xaddress)`, `linux-vdso.so.1 (0xaddress)`,
/// and with several programs a heading `/program:` for each.
fn parse(text: &str) -> Result<BTreeSet<PathBuf>, ImageError> {
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with(char::is_whitespace)) {
        let line = line.trim();
        let (name, target) = line.split_once(" => ").unwrap_or((line, line));
        if target == "not found" {
            return Err(ImageError::Library {
                name: name.to_owned(),
            });
        }
        if let Some((path, _)) = target.split_once(" (0x")
            && path.starts_with('/')
        {
            found.insert(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn keeps_libraries_and_loader_of_all_programs_once() {
        let text = "/usr/bin/a:\n\tlinux-vdso.so.1 (0x00007ffd)\n\tlibm.so.6 => /lib/x/libm.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n/usr/bin/b:\n\tlibm.so.6 => /lib/x/libm.so.6 (0x01)\n\
                    \tstatically linked\n";
        let found: Vec<_> = parse(text).unwrap().into_iter().collect();
        assert_eq!(
            found,
            [
                Path::new("/lib/x/libm.so.6"),
                Path::new("/lib64/ld-linux-x86-64.so.2")
            ]
        );
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = parse("\tlibaio.so.1 => not found\n").unwrap_err();
        assert!(matches!(error, ImageError::Library { name } if name == "libaio.so.1"));
    }
}
