//! NUMA for real, on a staged host of two nodes: what is surveyed, and where the memory of guests goes.
//!
//! The tests in [`inside`] are ignored here, and run in the lab host by those of this file.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod inside;
#[path = "../stage/mod.rs"]
mod stage;

use stage::LabHost;
use std::time::Duration;

const LIMIT: Duration = Duration::from_mins(7);

#[test]
fn memory_and_cpus_of_guests_are_where_they_were_put() {
    if !stage::is_possible() {
        return;
    }
    let host = LabHost::boot();
    host.test("inside::a_guest_of_the_lab_stays_on_one_node", LIMIT);
    host.test("inside::every_mode_puts_memory_where_it_says", LIMIT);
    host.test("inside::huge_pages_come_from_the_pool_of_a_node", LIMIT);
}
