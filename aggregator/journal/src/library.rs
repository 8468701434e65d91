//! The functions of libsystemd that are used, with the types of `systemd/sd-journal.h`.
#![expect(unsafe_code, reason = "loads a C library and types its functions")]

use std::ffi::{c_char, c_int, c_void};

/// Its name since systemd 209; the number changes when functions are taken away, which has never happened.
const LIBRARY_NAME: &str = "libsystemd.so.0";

/// `struct sd_journal`, which only the library knows.
#[repr(C)]
pub(crate) struct SdJournal {
    _opaque: [u8; 0],
}

/// libsystemd, loaded.
#[derive(Debug)]
pub struct Library {
    pub(crate) functions: Functions,
    /// Never unloaded while a function may be called.
    _library: libloading::Library,
}

/// The library cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not installed, or not a library.
    #[error("cannot load {name}; install systemd's library (package libsystemd0)")]
    Missing {
        /// What was looked for.
        name: String,
        /// What the loader said.
        #[source]
        source: libloading::Error,
    },
    /// It is too old or another library.
    #[error("{name} has no function {function}")]
    Function {
        /// The library.
        name: String,
        /// What it lacks.
        function: &'static str,
        /// What the loader said.
        #[source]
        source: libloading::Error,
    },
}

macro_rules! functions {
    ($($(#[$doc:meta])* $field:ident = $name:literal : fn($($argument:ty),*);)*) => {
        /// Pointers to the library's functions. All return a negative errno when they fail.
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct Functions {
            $($(#[$doc])* pub(crate) $field: unsafe extern "C" fn($($argument),*) -> c_int,)*
            /// Frees what an `open` made.
            pub(crate) close: unsafe extern "C" fn(*mut SdJournal),
        }

        impl Functions {
            fn find(library: &libloading::Library, name: &str) -> Result<Self, LoadError> {
                let missing = |function| {
                    move |source| LoadError::Function { name: name.to_owned(), function, source }
                };
                Ok(Self {
                    $(
                        // SAFETY: the type is that of the function's declaration in sd-journal.h.
                        $field: *unsafe { library.get($name.as_bytes()) }.map_err(missing($name))?,
                    )*
                    // SAFETY: as above.
                    close: *unsafe { library.get(b"sd_journal_close") }
                        .map_err(missing("sd_journal_close"))?,
                })
            }
        }
    };
}

functions! {
    /// Opens this machine's journal, of one or all namespaces; systemd 245.
    open_namespace = "sd_journal_open_namespace": fn(*mut *mut SdJournal, *const c_char, c_int);
    /// Opens the files of a directory.
    open_directory = "sd_journal_open_directory": fn(*mut *mut SdJournal, *const c_char, c_int);
    /// Whether files in `/run` could be opened.
    has_runtime_files = "sd_journal_has_runtime_files": fn(*mut SdJournal);
    /// Whether files in `/var` could be opened.
    has_persistent_files = "sd_journal_has_persistent_files": fn(*mut SdJournal);
    /// Limits how much of a field is decompressed.
    set_data_threshold = "sd_journal_set_data_threshold": fn(*mut SdJournal, usize);
    /// Goes before the first entry.
    seek_head = "sd_journal_seek_head": fn(*mut SdJournal);
    /// Goes behind the last entry.
    seek_tail = "sd_journal_seek_tail": fn(*mut SdJournal);
    /// Goes to an entry or, where it is gone, to the place where it was.
    seek_cursor = "sd_journal_seek_cursor": fn(*mut SdJournal, *const c_char);
    /// Whether the current entry is the one of a cursor.
    test_cursor = "sd_journal_test_cursor": fn(*mut SdJournal, *const c_char);
    /// The name of the current entry, to be freed.
    get_cursor = "sd_journal_get_cursor": fn(*mut SdJournal, *mut *mut c_char);
    /// Goes one entry on.
    next = "sd_journal_next": fn(*mut SdJournal);
    /// Goes one entry back.
    previous = "sd_journal_previous": fn(*mut SdJournal);
    /// A field of the current entry with its name and `=` before it.
    get_data = "sd_journal_get_data": fn(*mut SdJournal, *const c_char, *mut *const c_void, *mut usize);
    /// Waits for a change.
    wait = "sd_journal_wait": fn(*mut SdJournal, u64);
}

impl Library {
    /// Loads the library.
    ///
    /// # Errors
    ///
    /// When it is not installed or lacks a function.
    pub fn load() -> Result<Self, LoadError> {
        Self::load_named(LIBRARY_NAME)
    }

    fn load_named(name: &str) -> Result<Self, LoadError> {
        // SAFETY: libsystemd's initialisers do nothing but set up its own data.
        let library =
            unsafe { libloading::Library::new(name) }.map_err(|source| LoadError::Missing {
                name: name.to_owned(),
                source,
            })?;
        Ok(Self {
            functions: Functions::find(&library, name)?,
            _library: library,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named() {
        let error = Library::load_named("libnodescope-none.so.0").unwrap_err();
        assert!(matches!(error, LoadError::Missing { .. }));
        assert!(error.to_string().contains("libnodescope-none.so.0"));
    }

    #[test]
    fn a_library_without_the_functions_is_refused() {
        let error = Library::load_named("libc.so.6").unwrap_err();
        assert!(matches!(
            error,
            LoadError::Function {
                function: "sd_journal_open_namespace",
                ..
            }
        ));
    }
}
