//! How parameters follow their gradients, and the average of where they have been.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::error::{Error, ErrorKind, Result};
use crate::torch::TorchNetwork;

/// Stochastic gradient descent with Nesterov's momentum, as PyTorch defines it. Weight decay acts on convolutions and the fully connected
/// layer's weights; batch norms and biases have none.
#[derive(Debug)]
pub struct Sgd {
    /// Share of its speed that a parameter keeps.
    pub momentum: f64,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f64,
    velocities: BTreeMap<String, Tensor>,
}

impl Sgd {
    /// Everything stands still.
    pub fn new(momentum: f64, weight_decay: f64) -> Self {
        Self { momentum, weight_decay, velocities: BTreeMap::new() }
    }

    /// One step against the gradients, which are zero afterwards. A parameter without a gradient stays where it is.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn step(&mut self, network: &TorchNetwork, learning_rate: f64) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (name, parameter) in network.parameters() {
            let mut parameter = parameter.shallow_clone();
            let mut gradient = parameter.f_grad()?;
            if !gradient.defined() {
                continue;
            }
            let direction = self.direction(name, &parameter, &gradient)?;
            let _ = parameter.f_add_(&direction.f_mul_scalar(-learning_rate)?)?;
            let _ = gradient.f_zero_()?;
        }
        Ok(())
    }

    fn direction(&mut self, name: &str, parameter: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let has_decay = parameter.dim() > 1 && self.weight_decay != 0.0;
        let gradient = match has_decay {
            true => gradient.f_add(&parameter.f_mul_scalar(self.weight_decay)?)?,
            false => gradient.shallow_clone(),
        };
        let velocity = match self.velocities.get_mut(name) {
            Some(velocity) => {
                let _ = velocity.f_mul_scalar_(self.momentum)?.f_add_(&gradient)?;
                velocity
            }
            None => self.velocities.entry(name.to_owned()).or_insert(copy_of(&gradient)?),
        };
        Ok(gradient.f_add(&velocity.f_mul_scalar(self.momentum)?)?)
    }

    /// The velocities, by the parameters' names.
    pub(super) fn velocities(&self) -> &BTreeMap<String, Tensor> {
        &self.velocities
    }

    pub(super) fn set_velocities(&mut self, velocities: BTreeMap<String, Tensor>) {
        self.velocities = velocities;
    }
}

/// Exponential moving averages of all of a network's tensors, running statistics included (Polyak averaging). They answer better than the last
/// step's parameters while the learning rate is high.
#[derive(Debug)]
pub struct Averages {
    /// Share of an average that stays at each step.
    pub decay: f64,
    tensors: BTreeMap<String, Tensor>,
}

impl Averages {
    /// Averages of one value: the network's tensors as they are.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn new(network: &TorchNetwork, decay: f64) -> Result<Self> {
        let copied = network.tensors().iter().map(|(name, tensor)| Ok((name.clone(), copy_of(tensor)?)));
        Ok(Self { decay, tensors: copied.collect::<Result<_>>()? })
    }

    /// Takes the network's tensors in, after the step `step` (from 0). The first steps weigh more, so that the beginning is soon forgotten.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn update(&mut self, network: &TorchNetwork, step: u64) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let decay = self.decay.min((1 + step) as f64 / (10 + step) as f64);
        for (name, average) in &mut self.tensors {
            let _ = average.f_lerp_(&network.tensors()[name], 1.0 - decay)?;
        }
        Ok(())
    }

    /// The averages by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// Goes on with other averages of the same network.
    pub(super) fn set_tensors(&mut self, tensors: BTreeMap<String, Tensor>) -> Result<()> {
        let fits = |(name, own): (&String, &Tensor)| tensors.get(name).is_some_and(|new| new.size() == own.size());
        if tensors.len() != self.tensors.len() || !self.tensors.iter().all(fits) {
            return Err(Error::new(ErrorKind::Weights, "the averages are not those of the network"));
        }
        self.tensors = tensors;
        Ok(())
    }
}

/// A copy in memory of its own, which asks for no gradient.
fn copy_of(tensor: &Tensor) -> Result<Tensor> {
    let mut copy = tensor.f_detach()?.f_zeros_like()?;
    copy.f_copy_(&tensor.f_detach()?)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Config, Variant, Weights};
    use crate::torch::{Arithmetic, Device};

    fn network() -> TorchNetwork {
        let config = Config { width: 0.05, classes: 3, input_size: (32, 32), ..Config::new(Variant::LateConcat) };
        TorchNetwork::new(&Weights::random(config, 1).unwrap(), Device::Cpu, Arithmetic::F32).unwrap()
    }

    fn first(tensor: &Tensor) -> f64 {
        tensor.flatten(0, -1).double_value(&[0])
    }

    /// Sets all gradients to `gradient`.
    fn set_gradients(network: &TorchNetwork, gradient: f64) {
        let sums = network.parameters().map(|(_, parameter)| (parameter * gradient).sum(tch::Kind::Float));
        sums.fold(Tensor::from(0.0f32), |sum, term| sum + term).backward();
    }

    #[test]
    fn steps_are_nesterovs() {
        let network = network();
        let mut sgd = Sgd::new(0.9, 0.1);
        let (mut weight, mut bias) = (first(&network.tensors()["fc.weight"]), first(&network.tensors()["fc.bias"]));
        let (mut weight_velocity, mut bias_velocity) = (0.0, 0.0);
        for gradient in [1.0, -0.5, 2.0] {
            set_gradients(&network, gradient);
            sgd.step(&network, 0.01).unwrap();
            let decayed = gradient + 0.1 * weight;
            weight_velocity = 0.9 * weight_velocity + decayed;
            weight -= 0.01 * (decayed + 0.9 * weight_velocity);
            bias_velocity = 0.9 * bias_velocity + gradient;
            bias -= 0.01 * (gradient + 0.9 * bias_velocity);
            assert!((first(&network.tensors()["fc.weight"]) - weight).abs() < 1e-6);
            assert!((first(&network.tensors()["fc.bias"]) - bias).abs() < 1e-6, "biases do not decay");
        }
    }

    #[test]
    fn averages_follow_by_their_decay() {
        let network = network();
        let mut averages = Averages::new(&network, 0.8).unwrap();
        let name = "bn_y.running_mean";
        let before = first(&network.tensors()[name]);
        let _ = tch::no_grad(|| network.tensors()[name].shallow_clone().fill_(before + 1.0));
        averages.update(&network, 1000).unwrap();
        assert!((first(&averages.tensors()[name]) - (before + 0.2)).abs() < 1e-5);
        averages.update(&network, 0).unwrap();
        assert!((first(&averages.tensors()[name]) - (before + 0.92)).abs() < 1e-5, "the first steps weigh 0.9");
    }
}
