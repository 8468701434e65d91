//! A journal that is read entry by entry.
#![expect(unsafe_code, reason = "calls a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use crate::library::{Library, SdJournal};

/// `SD_JOURNAL_LOCAL_ONLY`: not the files that other machines sent here.
const LOCAL_ONLY: c_int = 1;
/// `SD_JOURNAL_ALL_NAMESPACES`: those of units with `LogNamespace=` too.
const ALL_NAMESPACES: c_int = 1 << 5;

/// Longest value of a field that is given out unless another bound is set: the library's own default threshold.
pub const MAX_FIELD_BYTES: usize = 64 << 10;

/// The name of a field that is read, as it stands in entries.
#[derive(Debug, Clone, Copy)]
pub struct Field(&'static CStr);

impl Field {
    /// What was logged.
    pub const MESSAGE: Self = Self(c"MESSAGE");
    /// Severity as in RFC 5424, one digit.
    pub const PRIORITY: Self = Self(c"PRIORITY");
    /// User of the process that logged.
    pub const UID: Self = Self(c"_UID");
    /// Cgroup of the process that logged.
    pub const CGROUP: Self = Self(c"_SYSTEMD_CGROUP");
    /// Container whose output a runtime logged.
    pub const CONTAINER_ID: Self = Self(c"CONTAINER_ID_FULL");
    /// A runtime cut the line, and this is not its last part.
    pub const PARTIAL: Self = Self(c"CONTAINER_PARTIAL_MESSAGE");
    /// A runtime cut the line, and this is its last part.
    pub const PARTIAL_LAST: Self = Self(c"CONTAINER_PARTIAL_LAST");

    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::MESSAGE,
        Self::PRIORITY,
        Self::UID,
        Self::CGROUP,
        Self::CONTAINER_ID,
        Self::PARTIAL,
        Self::PARTIAL_LAST,
    ];

    /// As in an entry.
    pub fn name(self) -> &'static str {
        // Every name above is ASCII.
        self.0.to_str().unwrap_or_default()
    }
}

/// Something that cannot be done with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// libsystemd reported an error.
    #[error("journal: {function} failed")]
    Call {
        /// Which function.
        function: &'static str,
        /// Why.
        #[source]
        source: Errno,
    },
    /// There is no journal, or the user may not read it.
    #[error(
        "no journal that this user may read in /run/log/journal or /var/log/journal; \
         add the user to the group systemd-journal"
    )]
    NotReadable,
    /// A path or cursor has a NUL byte.
    #[error("{0:?} has a NUL byte")]
    Nul(PathBuf),
}

/// An open journal. It stays with the thread that opened it, as libsystemd demands; the pointer makes it `!Send`.
#[derive(Debug)]
pub struct Journal {
    library: Arc<Library>,
    handle: NonNull<SdJournal>,
    max_field_bytes: usize,
}

impl Journal {
    /// Opens the journal of this machine: services, users and namespaces, whatever this user may read.
    ///
    /// # Errors
    ///
    /// [`JournalError::NotReadable`] when there is none to read now.
    pub fn open(library: Arc<Library>) -> Result<Self, JournalError> {
        let open = library.functions.open_namespace;
        let journal = Self::opened(library, "sd_journal_open_namespace", |handle| {
            // SAFETY: `handle` is a valid place for the result; null stands for the default namespace.
            unsafe { open(handle, ptr::null(), LOCAL_ONLY | ALL_NAMESPACES) }
        })?;
        if journal.has_files()? {
            Ok(journal)
        } else {
            Err(JournalError::NotReadable)
        }
    }

    /// Opens the journal files of one directory.
    ///
    /// # Errors
    ///
    /// When the directory cannot be opened.
    pub fn open_directory(library: Arc<Library>, directory: &Path) -> Result<Self, JournalError> {
        let path = CString::new(directory.as_os_str().as_bytes())
            .map_err(|_| JournalError::Nul(directory.to_owned()))?;
        let open = library.functions.open_directory;
        Self::opened(library, "sd_journal_open_directory", |handle| {
            // SAFETY: `handle` is a valid place for the result, and `path` ends with a NUL byte.
            unsafe { open(handle, path.as_ptr(), 0) }
        })
    }

    /// Takes at most this many bytes of a field's value; the rest is cut off. Without this, [`MAX_FIELD_BYTES`].
    ///
    /// This bounds what is given out. The library is told it too, but only as a hint: what it decompresses for the moment
    /// may be longer.
    ///
    /// # Errors
    ///
    /// Never in practice: the library only stores the number.
    pub fn set_max_field_bytes(&mut self, bytes: usize) -> Result<(), JournalError> {
        self.max_field_bytes = bytes;
        // SAFETY: the handle is open.
        let code =
            unsafe { (self.library.functions.set_data_threshold)(self.handle.as_ptr(), bytes) };
        check("sd_journal_set_data_threshold", code).map(drop)
    }

    /// Goes before the first entry; [`Self::advance`] then takes it.
    ///
    /// # Errors
    ///
    /// What libsystemd reports.
    pub fn seek_head(&mut self) -> Result<(), JournalError> {
        // SAFETY: the handle is open.
        let code = unsafe { (self.library.functions.seek_head)(self.handle.as_ptr()) };
        check("sd_journal_seek_head", code).map(drop)
    }

    /// Goes to the last entry; [`Self::advance`] then takes what is written from now on.
    ///
    /// # Errors
    ///
    /// What libsystemd reports.
    pub fn seek_end(&mut self) -> Result<(), JournalError> {
        let functions = &self.library.functions;
        // SAFETY: the handle is open.
        check("sd_journal_seek_tail", unsafe {
            (functions.seek_tail)(self.handle.as_ptr())
        })?;
        // Without a step back it would not stand behind an entry, and what it returns then depends on the version.
        // SAFETY: as above.
        let code = unsafe { (functions.previous)(self.handle.as_ptr()) };
        if check("sd_journal_previous", code)? == 0 {
            // Nothing is there yet, so all that comes is new.
            self.seek_head()?;
        }
        Ok(())
    }

    /// Goes behind the entry of a cursor, or where it is gone to where it was; [`Self::advance`] then takes the first entry
    /// after it.
    ///
    /// # Errors
    ///
    /// When the text is not a cursor, and what libsystemd reports.
    pub fn seek_after(&mut self, cursor: &str) -> Result<(), JournalError> {
        let functions = self.library.functions;
        let text = CString::new(cursor).map_err(|_| JournalError::Nul(PathBuf::from(cursor)))?;
        // SAFETY: the handle is open, and `text` ends with a NUL byte.
        let code = unsafe { (functions.seek_cursor)(self.handle.as_ptr(), text.as_ptr()) };
        check("sd_journal_seek_cursor", code)?;
        if !self.advance()? {
            return Ok(());
        }
        // SAFETY: as above.
        let code = unsafe { (functions.test_cursor)(self.handle.as_ptr(), text.as_ptr()) };
        if check("sd_journal_test_cursor", code)? == 0 {
            // The entry is gone and this one follows it: it is yet to be taken.
            // SAFETY: the handle is open.
            let code = unsafe { (functions.previous)(self.handle.as_ptr()) };
            if check("sd_journal_previous", code)? == 0 {
                self.seek_head()?;
            }
        }
        Ok(())
    }

    /// Goes to the next entry; false when there is none yet.
    ///
    /// # Errors
    ///
    /// What libsystemd reports, for example about a file that is damaged.
    pub fn advance(&mut self) -> Result<bool, JournalError> {
        // SAFETY: the handle is open.
        let code = unsafe { (self.library.functions.next)(self.handle.as_ptr()) };
        Ok(check("sd_journal_next", code)? > 0)
    }

    /// Puts a field of the current entry into `value`; false when the entry does not have it. Of a field that is there
    /// more than once it is the first.
    ///
    /// # Errors
    ///
    /// What libsystemd reports, for example about a field that cannot be decompressed.
    pub fn read_field(&mut self, field: Field, value: &mut Vec<u8>) -> Result<bool, JournalError> {
        value.clear();
        let mut data: *const c_void = ptr::null();
        let mut bytes = 0usize;
        // SAFETY: the handle is open, the name ends with a NUL byte, and both results have a place.
        let code = unsafe {
            (self.library.functions.get_data)(
                self.handle.as_ptr(),
                field.0.as_ptr(),
                &raw mut data,
                &raw mut bytes,
            )
        };
        if code == -(Errno::ENOENT as c_int) {
            return Ok(false);
        }
        check("sd_journal_get_data", code)?;
        if data.is_null() {
            return Ok(false);
        }
        // SAFETY: the library says that `bytes` bytes are there until the next call on this handle, and there is none
        // before the copy below.
        let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) };
        let text = data.get(field.0.count_bytes() + 1..).unwrap_or_default();
        value.extend_from_slice(text.get(..self.max_field_bytes).unwrap_or(text));
        Ok(true)
    }

    /// Name of the current entry, for [`Self::seek_after`].
    ///
    /// # Errors
    ///
    /// When there is no current entry, and what libsystemd reports.
    pub fn cursor(&mut self) -> Result<String, JournalError> {
        let mut text: *mut c_char = ptr::null_mut();
        // SAFETY: the handle is open, and the result has a place.
        let code =
            unsafe { (self.library.functions.get_cursor)(self.handle.as_ptr(), &raw mut text) };
        check("sd_journal_get_cursor", code)?;
        // SAFETY: on success the library gives a string that ends with a NUL byte.
        let cursor = unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned();
        // SAFETY: it was made by malloc, belongs to the caller, and is not used after this.
        unsafe { libc::free(text.cast()) };
        Ok(cursor)
    }

    /// Waits until entries or files came or went, at most for `timeout`; also takes notice of new files.
    ///
    /// # Errors
    ///
    /// What libsystemd reports.
    pub fn wait(&mut self, timeout: Duration) -> Result<(), JournalError> {
        let micros = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX - 1);
        // SAFETY: the handle is open.
        let code = unsafe { (self.library.functions.wait)(self.handle.as_ptr(), micros) };
        check("sd_journal_wait", code).map(drop)
    }

    fn opened(
        library: Arc<Library>,
        function: &'static str,
        open: impl FnOnce(*mut *mut SdJournal) -> c_int,
    ) -> Result<Self, JournalError> {
        let mut handle = ptr::null_mut();
        check(function, open(&raw mut handle))?;
        let handle = NonNull::new(handle).ok_or(JournalError::Call {
            function,
            source: Errno::EINVAL,
        })?;
        Ok(Self {
            library,
            handle,
            max_field_bytes: MAX_FIELD_BYTES,
        })
    }

    fn has_files(&self) -> Result<bool, JournalError> {
        let functions = &self.library.functions;
        // SAFETY: the handle is open.
        let runtime = unsafe { (functions.has_runtime_files)(self.handle.as_ptr()) };
        // SAFETY: as above.
        let persistent = unsafe { (functions.has_persistent_files)(self.handle.as_ptr()) };
        Ok(check("sd_journal_has_runtime_files", runtime)? > 0
            || check("sd_journal_has_persistent_files", persistent)? > 0)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // SAFETY: the handle is open and not used after this.
        unsafe { (self.library.functions.close)(self.handle.as_ptr()) };
    }
}

fn check(function: &'static str, code: c_int) -> Result<c_int, JournalError> {
    if code >= 0 {
        return Ok(code);
    }
    Err(JournalError::Call {
        function,
        source: Errno::from_raw(-code),
    })
}
