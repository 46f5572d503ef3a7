//! From settings to the texts of the files that make them last, on a host or inside a guest.
//!
//! Pure: knows what each file is read by and how it spells things; writes none of them.

pub mod conflict;
pub mod definition;
mod device;
pub mod domain;
mod lasting;
mod own_file;
mod render;
mod stamp;
mod unit;

pub use device::{Device, DeviceMatch, Subsystem, Sysfs};
pub use lasting::{Lasting, Unfit, followed, lasting};
pub use own_file::OwnFile;
pub use render::{Keeper, Layer, render};
pub use stamp::{CommitId, Stamp};
