//! Shared helpers: handles, events, wide text, and the permissions of objects that the agent makes.

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    GetTokenInformation, PSECURITY_DESCRIPTOR, PSID, SECURITY_ATTRIBUTES, TOKEN_QUERY, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::System::Threading::{CreateEventW, GetCurrentProcess, OpenProcessToken};

/// Text in UTF-16 for Windows, with a NUL at its end.
pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// Text from Windows, up to its NUL.
pub(super) fn narrow(text: &[u16]) -> String {
    let end = text.iter().position(|unit| *unit == 0).unwrap_or(text.len());
    String::from_utf16_lossy(&text[..end])
}

/// A path for Windows. One that may exceed 260 characters gets `\\?\` in front and is made absolute: `\\?\` allows no
/// `/`.
pub(super) fn wide_path(path: &Path) -> io::Result<Vec<u16>> {
    // `MAX_PATH` less a file name of eight and three, which a directory must leave room for.
    const SHORT: usize = 248;
    let absolute = std::path::absolute(path)?;
    let units: Vec<u16> = absolute.as_os_str().encode_wide().collect();
    let starts = |with: &str| units.iter().zip(with.encode_utf16()).all(|(one, other)| *one == other);
    if units.len() < SHORT || starts(r"\\?\") || starts(r"\\.\") {
        return Ok(wide(path));
    }
    let (prefix, rest) = if starts(r"\\") { (r"\\?\UNC", &units[1..]) } else { (r"\\?\", &units[..]) };
    Ok(prefix.encode_utf16().chain(rest.iter().copied()).chain([0]).collect())
}

/// Takes over a handle that a function has returned.
///
/// # Errors
///
/// The error of Windows, if it returned none.
pub(super) fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller has the handle from a function that passes ownership, and nothing else closes it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// An event without a name. Unless it is `manual`, a wait that it ends resets it.
pub(super) fn event(manual: bool) -> io::Result<OwnedHandle> {
    // SAFETY: the pointers may be null: no attributes, no name.
    owned(unsafe { CreateEventW(null(), manual.into(), 0, null()) })
}

/// The result of a function that returns a BOOL.
pub(super) fn done(answer: i32) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Permissions for the system, the administrators, and the user that the agent runs as. They inherit nothing from the
/// parent; files in a directory inherit from it.
pub(super) struct Private(PSECURITY_DESCRIPTOR);

impl Private {
    /// The permissions for the user of this process.
    pub(super) fn new() -> io::Result<Self> {
        Self::of(&format!("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;{})", own_sid()?))
    }

    /// Permissions from text. Source: Security Descriptor String Format.
    pub(super) fn of(text: &str) -> io::Result<Self> {
        let mut descriptor = null_mut();
        let text = wide(text);
        // SAFETY: the text ends with NUL, and the descriptor is freed when this is dropped.
        done(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &mut descriptor,
                null_mut(),
            )
        })?;
        Ok(Self(descriptor))
    }

    /// The attributes for functions that make an object. They must not outlive this value.
    pub(super) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }

    pub(super) fn descriptor(&self) -> PSECURITY_DESCRIPTOR {
        self.0
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // SAFETY: the descriptor came from a function whose result must be freed by `LocalFree`.
        unsafe { LocalFree(self.0) };
    }
}

/// The user that this process runs as: S-1-5-18 is the system.
pub(super) fn own_sid() -> io::Result<String> {
    let mut token = null_mut();
    // SAFETY: the pseudo handle of this process is always valid.
    done(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &mut token) })?;
    let token = owned(token)?;
    // TOKEN_USER and the SID behind it, which has 68 bytes at the most; u64 gives the alignment.
    let mut buffer = [0_u64; 32];
    let mut length = 0;
    use std::os::windows::io::AsRawHandle;
    // SAFETY: the length is that of the buffer.
    done(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            buffer.as_mut_ptr().cast(),
            size_of_val(&buffer) as u32,
            &mut length,
        )
    })?;
    // SAFETY: Windows has filled in a TOKEN_USER, whose SID is in the buffer as well.
    sid_text(unsafe { (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid })
}

/// A security identifier as text.
pub(super) fn sid_text(sid: PSID) -> io::Result<String> {
    let mut text = null_mut();
    // SAFETY: the SID is valid where the caller has it from Windows; the text is copied and freed.
    unsafe {
        done(ConvertSidToStringSidW(sid, &mut text))?;
        let length = (0..).take_while(|at| *text.add(*at) != 0).count();
        let copied = narrow(std::slice::from_raw_parts(text, length));
        LocalFree(text.cast());
        Ok(copied)
    }
}
