"""The hall: the order of the verbs. No arithmetic, no bytes.

fit        device + model shape -> a Fit per scheme
quantize   checkpoint -> artifacts
report     artifact + checkpoint -> TensorReport
validate   artifact + checkpoint -> FidelityReport
pack       all of it -> a package
"""
