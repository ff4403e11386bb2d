//! Which settings does a handler add to the options of a request?

use http::header::{HeaderName, HeaderValue};
use ws_core::{AcceptOptions, BufferPool, Compression, Config, Origin};

/// The settings of a handler. They take precedence over the options, in whichever order both are
/// set: options that replaced them would drop a limit silently.
#[derive(Clone, Default)]
pub(crate) struct HandlerSettings {
    pub(crate) protocols: Option<Vec<String>>,
    pub(crate) require_subprotocol: bool,
    pub(crate) origin: Option<Origin>,
    pub(crate) compression: Option<Compression>,
    pub(crate) response_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) message_size: Option<usize>,
    pub(crate) frame_size: Option<usize>,
    pub(crate) read_buffer: Option<usize>,
    pub(crate) write_batch: Option<usize>,
    pub(crate) buffer_pool: Option<BufferPool>,
    /// The high watermark.
    pub(crate) write_buffer: Option<usize>,
}

impl HandlerSettings {
    /// The options with these settings.
    pub(crate) fn apply(self, mut options: AcceptOptions) -> AcceptOptions {
        let before = options.shared_config();
        let config = self.configure(Config::clone(&before));
        if config != *before {
            options = options.config(config);
        }
        if let Some(names) = self.protocols {
            options = options.no_subprotocol_selector().subprotocols(names);
        }
        if self.require_subprotocol {
            options = options.require_subprotocol();
        }
        if let Some(origin) = self.origin {
            options = options.origin(origin);
        }
        if let Some(compression) = self.compression {
            options = options.compression(compression);
        }
        for (name, value) in self.response_headers {
            options = options.response_header(name, value);
        }
        options
    }

    fn configure(&self, mut config: Config) -> Config {
        let mut limits = config.limits_setting();
        if let Some(bytes) = self.message_size {
            limits = limits.message_size(bytes);
        }
        if let Some(bytes) = self.frame_size {
            limits = limits.frame_size(bytes);
        }
        config = config.limits(limits);
        if let Some(bytes) = self.read_buffer {
            config = config.read_buffer(bytes);
        }
        if let Some(bytes) = self.write_batch {
            config = config.write_batch(bytes);
        }
        if let Some(pool) = &self.buffer_pool {
            config = config.buffer_pool(pool);
        }
        if let Some(bytes) = self.write_buffer {
            config = config.write_buffer(bytes / 4, bytes);
        }
        config
    }
}
