//! The calls of the C library that std has no safe way for. The one file of the program with `unsafe`.

#![allow(unsafe_code, reason = "what std does not offer")]
