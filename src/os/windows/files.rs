//! Files and directories: default paths, permissions, and durable writes.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::windows::fs::MetadataExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION, ERROR_SUCCESS, GENERIC_ALL, GENERIC_WRITE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{GetNamedSecurityInfoW, SE_FILE_OBJECT, SetNamedSecurityInfoW};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACL, DACL_SECURITY_INFORMATION, GetAce, GetSecurityDescriptorDacl, INHERIT_ONLY_ACE,
    OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_ALWAYS, CREATE_NEW, CreateDirectoryW, CreateFileW, DELETE, FILE_APPEND_DATA, FILE_ATTRIBUTE_NORMAL,
    FILE_DELETE_CHILD, FILE_FLAG_OPEN_REPARSE_POINT, FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_SHARE_DELETE,
    FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_TYPE_DISK, FILE_WRITE_DATA, GetFileType, MOVEFILE_REPLACE_EXISTING,
    MOVEFILE_WRITE_THROUGH, MoveFileExW, OPEN_ALWAYS, ReplaceFileW, WRITE_DAC, WRITE_OWNER,
};

use super::handles::{Private, done, own_sid, owned, sid_text, wide_path};
use super::host::registry;
use super::pipes::is;
use crate::os::User;

/// The directory for all files of the agent: `%ProgramData%\otelet`. It is read from the registry, which is the same
/// for all users; the variables of a process may differ.
pub(super) fn data_dir() -> PathBuf {
    let known = registry(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList", "ProgramData").map(PathBuf::from);
    let known = known.filter(|path| path.is_absolute());
    known.unwrap_or_else(|| r"C:\ProgramData".into()).join("otelet")
}

/// The default path of the settings file.
pub fn default_settings_path() -> PathBuf {
    data_dir().join("otelet.yaml")
}

pub fn environment() -> crate::os::Environment {
    crate::os::Environment::Host
}

/// Makes a directory for the collector, which runs as the agent's user.
///
/// # Errors
///
/// The error of Windows.
pub fn directory_for(path: &Path, _: Option<User>) -> io::Result<()> {
    private_dir(path)
}

/// The default directory for the last good config.
pub fn default_state_dir() -> PathBuf {
    data_dir().join("state")
}

/// The default directory for the status.
pub fn default_runtime_dir() -> PathBuf {
    data_dir().join("run")
}

/// Makes the directory and its parents, for the agent, administrators and the system only.
///
/// # Errors
///
/// The error of Windows.
pub fn private_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        private_dir(above)?;
    }
    let private = Private::new()?;
    let (attributes, name) = (private.attributes(), wide_path(path)?);
    // SAFETY: the pointers are to values that live until the call returns.
    match done(unsafe { CreateDirectoryW(name.as_ptr(), &attributes) }) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Groups that contain everybody: Everyone, Authenticated Users, Users, Guests, Anonymous.
const CROWDS: [&str; 5] = ["S-1-1-0", "S-1-5-11", "S-1-5-32-545", "S-1-5-32-546", "S-1-5-7"];

/// Accounts that can do everything anyway: the system, administrators, TrustedInstaller. The last two stand for the
/// owner, who is checked separately.
const TRUSTED: [&str; 5] = [
    "S-1-5-18",
    "S-1-5-32-544",
    "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
    "S-1-3-0",
    "S-1-3-4",
];

/// The rights that allow to change a directory or its content.
const CHANGES: u32 = GENERIC_ALL
    | GENERIC_WRITE
    | FILE_WRITE_DATA
    | FILE_APPEND_DATA
    | FILE_DELETE_CHILD
    | DELETE
    | WRITE_DAC
    | WRITE_OWNER;

/// Checks that no other user can put a config into this directory, and that not everybody can read one: below
/// `%ProgramData%` all users may make directories. Wrong permissions of the agent's own directory are corrected and
/// reported. For another directory they are only reported, since other programs may need them.
///
/// # Errors
///
/// If the directory belongs to another user, or cannot be corrected.
pub fn keep_private(directory: &Path) -> io::Result<Option<String>> {
    let own = own_sid()?;
    let (owner, others) = access(directory, &own)?;
    let trusted = |sid: &str| sid == own || TRUSTED.contains(&sid);
    if !trusted(&owner) {
        let name = directory.display();
        let words = format!(
            "it belongs to {owner}, who may have put anything there; look into it, then run `takeown /A /R /F \"{name}\"`"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
    }
    if others.is_empty() {
        return Ok(None);
    }
    let (name, others) = (directory.display(), others.join(", "));
    if !directory.starts_with(data_dir()) {
        return Ok(Some(format!(
            "{name}: is open to {others}, who can have the agent run any config; run `icacls \"{name}\" /inheritance:r /grant \
             SYSTEM:(OI)(CI)F Administrators:(OI)(CI)F`, or use another directory"
        )));
    }
    close(directory)?;
    Ok(Some(format!("{name}: was open to {others}; now it is for administrators, the system and the agent")))
}

/// Gives a directory the permissions of one that the agent makes.
fn close(directory: &Path) -> io::Result<()> {
    let private = Private::new()?;
    let (mut present, mut defaulted, mut list) = (0, 0, null_mut());
    let path = wide_path(directory)?;
    // SAFETY: the list belongs to `private`, which lives until the calls have returned.
    unsafe {
        done(GetSecurityDescriptorDacl(private.descriptor(), &mut present, &mut list, &mut defaulted))?;
        let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
        match SetNamedSecurityInfoW(path.as_ptr(), SE_FILE_OBJECT, what, null_mut(), null_mut(), list, null()) {
            ERROR_SUCCESS => Ok(()),
            code => Err(io::Error::from_raw_os_error(code as i32)),
        }
    }
}

/// The owner, and the accounts that are not trusted but may change the content, or that contain everybody and may read
/// it.
fn access(directory: &Path, own: &str) -> io::Result<(String, Vec<String>)> {
    let path = wide_path(directory)?;
    let (mut owner, mut list, mut descriptor) = (null_mut(), null_mut::<ACL>(), null_mut());
    let what = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION;
    // SAFETY: the results are inside the descriptor, which is freed after they are read.
    unsafe {
        let code = GetNamedSecurityInfoW(
            path.as_ptr(),
            SE_FILE_OBJECT,
            what,
            &mut owner,
            null_mut(),
            &mut list,
            null_mut(),
            &mut descriptor,
        );
        if code != ERROR_SUCCESS {
            return Err(io::Error::from_raw_os_error(code as i32));
        }
        let found = sid_text(owner).and_then(|owner| Ok((owner, others(list, own)?)));
        LocalFree(descriptor);
        found
    }
}

/// # Safety
///
/// The list is null or a valid one.
unsafe fn others(list: *const ACL, own: &str) -> io::Result<Vec<String>> {
    // Source: winnt.h.
    const ACCESS_ALLOWED: u8 = 0;
    if list.is_null() {
        return Ok(vec!["everybody".into()]);
    }
    let mut others = Vec::new();
    // SAFETY: the list and its entries below the count are valid. An entry that allows access has its SID at its end.
    unsafe {
        for index in 0..(*list).AceCount {
            let mut entry = null_mut();
            done(GetAce(list, index.into(), &mut entry))?;
            let entry = entry.cast::<ACCESS_ALLOWED_ACE>();
            let header = (*entry).Header;
            if header.AceType != ACCESS_ALLOWED || u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 {
                continue;
            }
            let sid = sid_text((&raw mut (*entry).SidStart).cast())?;
            let harmful = (*entry).Mask & CHANGES != 0 || ((*entry).Mask != 0 && CROWDS.contains(&&*sid));
            if sid != own && !TRUSTED.contains(&&*sid) && harmful && !others.contains(&sid) {
                others.push(sid);
            }
        }
    }
    Ok(others)
}

/// Does nothing here: the collector runs as the agent's user and can read the same files.
///
/// # Errors
///
/// Never on Windows.
pub fn let_read(_: &Path, _: Option<User>) -> io::Result<()> {
    Ok(())
}

/// Does nothing here, as [`let_read`].
///
/// # Errors
///
/// Never on Windows.
pub fn let_pass(_: &Path, _: Option<User>) -> io::Result<()> {
    Ok(())
}

/// A file for the agent, administrators and the system only, new or emptied.
///
/// # Errors
///
/// The error of Windows.
pub fn private_file(path: &Path) -> io::Result<File> {
    create(path, CREATE_ALWAYS)
}

/// A new file for the agent, administrators and the system only; it must not exist yet.
///
/// # Errors
///
/// The error of Windows.
pub fn new_private_file(path: &Path) -> io::Result<File> {
    create(path, CREATE_NEW)
}

fn create(path: &Path, how: u32) -> io::Result<File> {
    let private = Private::new()?;
    let (attributes, name) = (private.attributes(), wide_path(path)?);
    // SAFETY: the pointers are to values that live until the call returns. A link is not followed.
    let handle = owned(unsafe {
        CreateFileW(
            name.as_ptr(),
            FILE_GENERIC_READ | FILE_GENERIC_WRITE,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            &attributes,
            how,
            FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT,
            null_mut(),
        )
    })?;
    Ok(File::from(handle))
}

/// Renames a file, over an existing one too, and returns when that is on disk.
///
/// Another program may have the file open, such as an antivirus or a backup: the rename is tried for up to 0.3 s. Call
/// it on threads that may wait.
///
/// # Errors
///
/// The error of Windows.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    while_in_use(Duration::from_millis(20), || move_file(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
}

/// Renames a file that need not be durable, on the main thread. A reader of the file needs it only for a moment, so the
/// rename is tried for 15 ms at the most.
///
/// # Errors
///
/// The error of Windows.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    while_in_use(Duration::from_millis(1), || fs::rename(from, to))
}

/// Tries again while another program has the file open, after growing pauses.
fn while_in_use(pause: Duration, mut rename: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    const TRIES: u32 = 5;
    for number in 1..=TRIES {
        match rename() {
            Err(error) if is(&error, ERROR_ACCESS_DENIED) || is(&error, ERROR_SHARING_VIOLATION) => {
                std::thread::sleep(pause * number);
            }
            renamed => return renamed,
        }
    }
    rename()
}

/// Replaces a file by `new`, which gets the permissions of the file. The old file is kept as `before`.
///
/// # Errors
///
/// The error of Windows.
pub fn replace_file(path: &Path, new: &Path, before: &Path) -> io::Result<()> {
    let (path, new, before) = (wide_path(path)?, wide_path(new)?, wide_path(before)?);
    // SAFETY: the paths end with NUL, and the reserved pointers are null.
    done(unsafe { ReplaceFileW(path.as_ptr(), new.as_ptr(), before.as_ptr(), 0, null(), null_mut()) })
}

/// Renames a file, but not over another one.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if `to` exists, or the error of Windows.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    move_file(from, to, MOVEFILE_WRITE_THROUGH)
}

fn move_file(from: &Path, to: &Path, flags: u32) -> io::Result<()> {
    let (from, to) = (wide_path(from)?, wide_path(to)?);
    // SAFETY: both paths end with NUL.
    done(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), flags) })
}

/// Nothing here: another account's directory is refused by [`keep_private`].
pub fn another_owner(_: &Path, _: &Path) -> Option<String> {
    None
}

/// The attributes of a file: `attributes 0x20`. On Windows, its permissions are not in the metadata.
pub fn describe_mode(metadata: &fs::Metadata) -> String {
    format!("attributes {:#x}", metadata.file_attributes())
}

/// Does nothing here: a rename is durable when [`rename_durably`] returns.
///
/// # Errors
///
/// Never on Windows.
pub fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Locks the file for this process until it ends.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if another process holds it.
pub fn lock(path: &Path) -> io::Result<()> {
    try_lock(path).map(keep_locked)
}

/// Keeps a locked file locked until this process ends: closing it would release the lock.
pub fn keep_locked(file: File) {
    std::mem::forget(file);
}

/// Locks the file until what is returned is dropped.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if another process holds it.
pub fn try_lock(path: &Path) -> io::Result<File> {
    let file = create(path, OPEN_ALWAYS)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Opens a regular file for reading, also through a link. Devices and pipes are refused.
///
/// # Errors
///
/// [`io::ErrorKind::Other`] for anything but a regular file, or the error of Windows.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let irregular = || io::Error::other("not a regular file");
    if !fs::metadata(path)?.is_file() {
        return Err(irregular());
    }
    let file = File::open(path)?;
    // SAFETY: the handle is open.
    let on_disk = unsafe { GetFileType(file.as_raw_handle()) } == FILE_TYPE_DISK;
    if on_disk { Ok(file) } else { Err(irregular()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn place(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("otelet {name} ü {}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        private_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn a_file_with_a_long_path_is_replaced_whole() {
        let dir = place("long");
        let deep = (0..12).fold(dir.clone(), |path, number| path.join(format!("a directory with number {number}")));
        assert!(deep.as_os_str().len() > 260);
        private_dir(&deep).unwrap();
        let (new, path) = (deep.join("x.new"), deep.join("x"));
        for text in ["first", "second"] {
            private_file(&new).unwrap().write_all(text.as_bytes()).unwrap();
            rename_durably(&new, &path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        private_file(&new).unwrap();
        assert_eq!(rename_to_new(&new, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_open_to_everybody_is_reported() {
        let dir = place("open");
        assert_eq!(keep_private(&dir).unwrap(), None);
        let open = Private::of("D:P(A;OICI;FA;;;WD)").unwrap();
        let (mut present, mut defaulted, mut list) = (0, 0, null_mut());
        let path = wide_path(&dir).unwrap();
        // SAFETY: the list belongs to `open`.
        unsafe {
            done(GetSecurityDescriptorDacl(open.descriptor(), &mut present, &mut list, &mut defaulted)).unwrap();
            let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
            let code = SetNamedSecurityInfoW(path.as_ptr(), SE_FILE_OBJECT, what, null_mut(), null_mut(), list, null());
            assert_eq!(code, ERROR_SUCCESS);
        }
        let said = keep_private(&dir).unwrap().unwrap();
        assert!(said.contains("is open to S-1-1-0, who can have the agent run any config; run `icacls "), "{said}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
