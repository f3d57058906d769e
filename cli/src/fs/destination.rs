//! Where a copy or a move goes: the rules of cp(1) and mv(1), for both sides.

/// What is at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Nothing,
    File,
    Directory,
}

/// The destination as it was written, and what goes there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) existing: Existing,
    pub(crate) trailing_slash: bool,
    pub(crate) several_sources: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The destination is the new name.
    Itself,
    /// The destination is a directory: the source keeps its name in it.
    Below,
}

impl Wanted {
    /// What is wrong with the destination whatever the sources are: said once, not for each of them.
    pub(crate) const fn check(self) -> Result<Self, &'static str> {
        match (self.several_sources, self.existing) {
            (true, Existing::Nothing) => Err("no such directory; several sources need one that exists"),
            (true, Existing::File) => Err("not a directory; several sources need one"),
            (true, Existing::Directory) | (false, _) => Ok(self),
        }
    }

    /// Where a source goes; or what is wrong with the destination.
    pub(crate) const fn place(self, source_is_directory: bool) -> Result<Placement, &'static str> {
        match self.existing {
            Existing::Directory => Ok(Placement::Below),
            Existing::File if self.trailing_slash => Err("not a directory"),
            Existing::File if source_is_directory => Err("a file is in the way of the directory"),
            Existing::Nothing if self.trailing_slash && !source_is_directory => Err("no such directory; make it first"),
            Existing::File | Existing::Nothing => Ok(Placement::Itself),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(existing: Existing, slash: bool, several: bool, directory: bool) -> Result<Placement, &'static str> {
        Wanted { existing, trailing_slash: slash, several_sources: several }.check()?.place(directory)
    }

    #[test]
    fn a_directory_takes_everything_in() {
        for (slash, several, directory) in [(false, false, false), (true, false, true), (false, true, false)] {
            assert_eq!(place(Existing::Directory, slash, several, directory), Ok(Placement::Below));
        }
    }

    #[test]
    fn a_new_name_is_taken_unless_a_directory_is_meant() {
        assert_eq!(place(Existing::Nothing, false, false, false), Ok(Placement::Itself));
        assert_eq!(place(Existing::Nothing, true, false, true), Ok(Placement::Itself));
        assert!(place(Existing::Nothing, true, false, false).is_err());
        assert!(place(Existing::Nothing, false, true, false).is_err());
    }

    #[test]
    fn a_file_is_replaced_by_one_file_only() {
        assert_eq!(place(Existing::File, false, false, false), Ok(Placement::Itself));
        assert!(place(Existing::File, true, false, false).is_err());
        assert!(place(Existing::File, false, true, false).is_err());
        assert!(place(Existing::File, false, false, true).is_err());
    }
}
