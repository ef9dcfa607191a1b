//! Exports the one function by which an application finds a PKCS#11 module's other functions.

use kryoptic_lib::fns::general::fn_get_function_list;
use kryoptic_lib::pkcs11::{CK_FUNCTION_LIST_PTR_PTR, CK_RV};

/// Write the address of Kryoptic's function list (PKCS#11 3.1, section 5.5).
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    fn_get_function_list(list)
}
