//! The simulated host's boots: what is arranged for the next one.
//!
//! Does not boot it.

use super::FakeHost;
use crate::host::{Boots, HostError, NextBoot};

impl Boots for FakeHost {
    fn boot_id(&mut self) -> Result<String, HostError> {
        self.call("tell the boot", |host| Ok(host.state.boot_id()))
    }

    fn machine(&mut self) -> String {
        "simulated".into()
    }

    fn command_line(&mut self) -> Result<String, HostError> {
        self.call("read the command line", |host| {
            let boot = host.state.boot.as_ref();
            Ok(boot.map(|boot| boot.line.clone()).unwrap_or_default())
        })
    }

    fn read_next(&mut self, _: &NextBoot) -> Result<Option<String>, HostError> {
        self.call("read the next boot", |host| {
            Ok(host.state.boot.as_ref().and_then(|boot| boot.next.clone()))
        })
    }

    fn write_next(&mut self, _: &NextBoot, content: Option<&str>) -> Result<(), HostError> {
        self.call("write the next boot", |host| match &mut host.state.boot {
            Some(boot) => {
                boot.next = content.map(str::to_string);
                Ok(())
            }
            None => Err(HostError::new("write the next boot", "it cannot be booted")),
        })
    }
}
