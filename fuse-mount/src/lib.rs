//! The POSIX door: a directory of the namespace as a file system of this machine.

mod accesses;
mod answer;
mod append;
mod attributes;
mod caller;
mod coherence;
mod directory;
mod dirty;
mod errno;
mod file;
mod files;
mod filesystem;
mod holds;
mod io;
mod locks;
mod names;
mod options;
mod read_ahead;
mod room;
mod session;
mod store;
mod write_back;
mod xattrs;

pub use options::{Options, Refused};
pub use read_ahead::raise as raise_read_ahead;
pub use session::{Mount, MountError, PATIENCE};
