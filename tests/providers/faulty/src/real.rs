//! The real module, which answers whatever no rule changes.

use std::path::PathBuf;
use std::ptr;
use std::sync::OnceLock;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CKR_OK};

use crate::script;

/// Names the script.
const SCRIPT: &str = "FAULTY_MODULE_SCRIPT";

type GetFunctionList = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;

struct Real {
    script: PathBuf,
    folder: PathBuf,
    functions: &'static CK_FUNCTION_LIST,
}

static REAL: OnceLock<Real> = OnceLock::new();

/// Load the real module that the script names. A second call does nothing.
pub fn load() -> Result<(), String> {
    if REAL.get().is_some() {
        return Ok(());
    }
    let path = std::env::var_os(SCRIPT).unwrap_or_default();
    let path = PathBuf::from(path);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("cannot read the script {path:?} of {SCRIPT}: {error}"))?;
    let script = script::parse(&text)?;
    let real = Real {
        script: path,
        functions: functions_of(&script.module)?,
        folder: script.folder,
    };
    let _ = REAL.set(real);
    Ok(())
}

fn functions_of(module: &str) -> Result<&'static CK_FUNCTION_LIST, String> {
    let problem = |error: libloading::Error| format!("cannot load the module {module}: {error}");
    let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
    unsafe {
        let library = libloading::Library::new(module).map_err(problem)?;
        let get: libloading::Symbol<GetFunctionList> =
            library.get(b"C_GetFunctionList\0").map_err(problem)?;
        let code = get(&mut list);
        if code != CKR_OK || list.is_null() {
            return Err(format!(
                "C_GetFunctionList of {module} returned {code:#010x}"
            ));
        }
        std::mem::forget(library); // it stays until the process ends
        Ok(&*list)
    }
}

fn real() -> &'static Real {
    REAL.get().expect("C_GetFunctionList has loaded it")
}

/// The functions of the real module.
pub fn functions() -> &'static CK_FUNCTION_LIST {
    real().functions
}

/// The script's file.
pub fn script() -> &'static PathBuf {
    &real().script
}

/// The folder of the log and of what all processes count together.
pub fn folder() -> &'static PathBuf {
    &real().folder
}
