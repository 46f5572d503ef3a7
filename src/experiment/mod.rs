//! What the user asked for. Knows nothing of hosts, measurements or results.

pub mod response;
