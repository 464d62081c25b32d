/* gate.cuh - what is done to a gate's number. */
#ifndef WEIR_CUDA_GATE_CUH
#define WEIR_CUDA_GATE_CUH

/* x / (1 + e^-x), and with GELU's other exponent: (1 + tanh z) / 2 = 1 / (1 + e^-2z). */
static __device__ __forceinline__ float gate_activation(float x, bool gelu_tanh)
{
    const float twice_root = 1.59576912160573071176F; /* 2 sqrt(2 / pi) */
    const float y = gelu_tanh ? twice_root * (x + 0.044715F * (x * x * x)) : x;
    return x / (1.0F + expf(-y));
}

#endif
