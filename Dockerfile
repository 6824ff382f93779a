# The container of an ObjectNet submission: reads /input, writes /output/predictions.csv. utils/build_submission.sh builds it.
#
# The base is the official image without CUDA, also for GPUs: CUDA comes as wheels, by hash, in the versions that this
# TensorFlow asks for. The official 2.21.0-gpu image has cuDNN 8.9 beside a TensorFlow that wants 9, and shows no GPU on
# many machines.
# build_submission.sh gives the version with the image's digest, from base-images.lock.
ARG TENSORFLOW_VERSION=2.21.0
FROM tensorflow/tensorflow:${TENSORFLOW_VERSION}

LABEL org.opencontainers.image.title="ObjectNet submission" \
      org.opencontainers.image.description="Predicts ObjectNet ids for the images in /input"

# HOME: libraries look for a cache folder, and the user below has no other place to write but /tmp and /output.
ENV HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /workspace

# Before the code, so that a changed model does not install everything again. requirements.lock is the one without CUDA.
ARG LOCK=requirements-gpu.lock
COPY ${LOCK} ./requirements.lock
RUN python3 -I -m pip install --disable-pip-version-check --no-cache-dir --only-binary :all: --require-hashes -r requirements.lock

# TensorFlow 2.21 looks for some of the CUDA wheels' libraries by itself (cuDNN, cuBLAS) and not for others (cuSOLVER, nvJitLink).
RUN python3 -I -c "import glob, sysconfig; print(*sorted(glob.glob(sysconfig.get_path('purelib') + '/nvidia/*/lib')), sep='\n')" \
      > /etc/ld.so.conf.d/cuda-wheels.conf && ldconfig

COPY resnet_model.py ./
COPY webvision ./webvision
COPY utils/objectnet_eval.py ./utils/
COPY build/submission ./submission

# What the model needs besides, if anything.
RUN if [ -f submission/requirements.txt ]; then \
      python3 -I -m pip install --disable-pip-version-check --no-cache-dir --only-binary :all: --require-hashes -r submission/requirements.txt; fi

# --user may name any other user too. The command at the end fails the build if something it needs was not copied.
RUN chmod -R a+rX /workspace && python3 utils/objectnet_eval.py --help

ARG MODEL_CLASS_NAME
ARG MODEL_CHECKPOINT
ARG CONVERT_OUTPUTS_MODE=1
ENV MODEL_CLASS_NAME=${MODEL_CLASS_NAME} \
    MODEL_CHECKPOINT=${MODEL_CHECKPOINT} \
    CONVERT_OUTPUTS_MODE=${CONVERT_OUTPUTS_MODE}

# Nobody in particular; /output must be writable for this user, or `docker run --user` for another one.
USER 65532:65532

# A shell only to insert the variables; it is replaced by Python, which so gets the signals. Arguments of `docker run` are added.
ENTRYPOINT ["/bin/sh", "-c", "exec python3 utils/objectnet_eval.py /input /output/predictions.csv \"$MODEL_CLASS_NAME\" \"$MODEL_CHECKPOINT\" --mapping submission/mappings --model-folder submission/model --convert_outputs_mode \"$CONVERT_OUTPUTS_MODE\" \"$@\"", "objectnet_eval"]
