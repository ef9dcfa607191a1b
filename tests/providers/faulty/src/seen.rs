//! What the arguments of a call show to the conditions of a rule.

use cryptoki_sys::{CK_ATTRIBUTE, CK_ATTRIBUTE_TYPE, CK_MECHANISM, CK_MECHANISM_TYPE, CK_ULONG};

/// What one call shows. A call that lacks something leaves it empty.
#[derive(Default)]
pub struct Seen<'a> {
    pub mechanism: Option<CK_MECHANISM_TYPE>,
    pub template: Vec<&'a CK_ATTRIBUTE>,
    pub data: Option<&'a [u8]>,
    /// The output pointer is NULL: the call asks for a length and does nothing.
    pub asks_length: bool,
    pub read_only: bool,
}

impl<'a> Seen<'a> {
    /// # Safety
    /// `mechanism` must be NULL or point to a mechanism.
    pub unsafe fn mechanism(mut self, mechanism: *const CK_MECHANISM) -> Self {
        self.mechanism = unsafe { mechanism.as_ref() }.map(|each| each.mechanism);
        self
    }

    /// Adds to the template: C_GenerateKeyPair has two.
    ///
    /// # Safety
    /// `template` must be NULL or point to `count` attributes.
    pub unsafe fn template(mut self, template: *const CK_ATTRIBUTE, count: CK_ULONG) -> Self {
        if !template.is_null() {
            self.template
                .extend(unsafe { std::slice::from_raw_parts(template, count as usize) });
        }
        self
    }

    /// # Safety
    /// `data` must be NULL or point to `length` bytes.
    pub unsafe fn data(mut self, data: *const u8, length: CK_ULONG) -> Self {
        if !data.is_null() {
            self.data = Some(unsafe { std::slice::from_raw_parts(data, length as usize) });
        }
        self
    }

    /// The value of an attribute of the template.
    pub fn attribute(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        let found = self.template.iter().find(|each| each.type_ == kind)?;
        if found.pValue.is_null() {
            return Some(&[]);
        }
        // The caller of the PKCS#11 function has promised that these bytes exist.
        Some(unsafe { std::slice::from_raw_parts(found.pValue.cast(), found.ulValueLen as usize) })
    }

    pub fn output<T>(mut self, output: *const T) -> Self {
        self.asks_length = output.is_null();
        self
    }
}
