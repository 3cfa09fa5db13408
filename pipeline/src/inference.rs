//! Running neural networks: what every engine must do. There is no engine yet.
//!
//! An engine is one network, loaded and ready: numbers in, numbers out. What the numbers mean is the business
//! of its caller, such as a [`crate::pose::PoseEstimator`].

/// A dense block of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Length of each dimension, outermost first, for example `[1, 3, 256, 256]`.
    pub shape: Vec<usize>,
    /// Row-major values, as many as the product of `shape`.
    pub values: Vec<f32>,
}

/// Name and shape of one input or output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name in the network's file.
    pub name: String,
    /// Expected shape; `None` for a dimension that may vary.
    pub shape: Vec<Option<usize>>,
}

/// Why a run gave no result; each variant is what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// The caller's mistake: other tensors than the network has inputs.
    #[error("network {network}: input {port} has shape {got:?}, the network expects {expected:?}")]
    Shape {
        /// Name of the network.
        network: String,
        /// The input in question.
        port: String,
        /// What was given.
        got: Vec<usize>,
        /// What the network wants.
        expected: Vec<Option<usize>>,
    },
    /// Try again, later or on another engine: out of memory, device reset.
    #[error("network {network}: {reason}")]
    Later {
        /// Name of the network.
        network: String,
        /// The engine's words.
        reason: String,
    },
    /// This engine cannot run this network; use another engine.
    #[error("network {network} cannot run here: {reason}")]
    Never {
        /// Name of the network.
        network: String,
        /// The engine's words.
        reason: String,
    },
}

/// One loaded network: tensors in, tensors out. Blocks until done; call it off the async threads.
pub trait Engine: Send {
    /// What really runs it, for status and records: `cpu`, `cuda`, `tensorrt 10.3 fp16`.
    fn device(&self) -> &str;

    /// Inputs, in the order that [`run`](Self::run) wants them.
    fn inputs(&self) -> &[Port];

    /// Outputs, in the order that [`run`](Self::run) gives them.
    fn outputs(&self) -> &[Port];

    /// Runs the network once. After an error the engine can be used again unless it was
    /// [`InferenceError::Never`].
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, InferenceError>;
}
