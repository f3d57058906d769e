//! The format of a replica: one file that holds a header, the checksums and the data.

mod header;
mod layout;

pub(crate) use header::{Header, HeaderError, State};
pub(crate) use layout::{
    FINAL, Layout, WRITING, directory_path, final_directory, final_path, parse_name, writing_path,
};
