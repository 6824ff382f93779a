#!/usr/bin/env bash
# Build the ObjectNet challenge's container from a model, its checkpoint and the data set's mappings folder.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: utils/build_submission.sh -n MODEL -c CHECKPOINT -m MAPPINGS -i IMAGE [options]

  -n, --model-class-name=MODEL       a PyTorch class in objectnet/model/model_description.py, a Python file with
                                     logits(images) and PRESET, or resnet50, se101, ...
  -c, --model-checkpoint=CHECKPOINT  its weights: a file, or a TensorFlow prefix such as train_log/RUN/model-1000
  -m, --mappings=PATH                ObjectNet's mappings folder or id JSON (default: objectnet/mapping_files, where it
                                     is); `none` if MODEL gives ObjectNet ids itself
  -r, --requirements=FILE            packages that MODEL needs besides, pinned by hash; PyTorch for a PyTorch class:
                                     `echo torch==2.13.0 | uv pip compile --generate-hashes - -o FILE`
  -i, --image=IMAGE                  name of the image to build
  -t, --tag=TAG                      its tag (default: latest)
  -v, --tensorflow-version=VERSION   the official base image: a release, or VERSION@sha256:DIGEST (default: 2.21.0)
  -nc, --no-cache                    build every layer anew
      --cpu                          without CUDA: an image of a fifth of the size
      --dry-run                      lay out build/submission and print the docker command only
  -h, --help                         this text

Run it:  docker run --rm --gpus all --user "$(id -u):$(id -g)" -v IMAGES:/input:ro -v OUTPUT:/output IMAGE:TAG
TEXT
}

fail() {
    echo "build_submission.sh: error: $1" >&2
    exit 2
}

model="" checkpoint="" mappings="" requirements="" image="" tag="latest" version="2.21.0" lock="requirements-gpu.lock" cache=() dry_run=""
while [ $# -gt 0 ]; do
    flag="$1"
    shift
    case "$flag" in
        --*=*) value="${flag#*=}" flag="${flag%%=*}" ;;
        -nc|--no-cache|--cpu|--dry-run|-h|--help) value="" ;;
        -*) [ $# -gt 0 ] || fail "$flag needs a value"
            value="$1"
            shift ;;
        *) fail "unexpected argument $flag; see --help" ;;
    esac
    case "$flag" in
        -n|--model-class-name) model="$value" ;;
        -c|--model-checkpoint) checkpoint="$value" ;;
        -m|--mappings) mappings="$value" ;;
        -r|--requirements) requirements="$value" ;;
        -i|--image) image="$value" ;;
        -t|--tag) tag="$value" ;;
        -v|--tensorflow-version) version="$value" ;;
        -nc|--no-cache) cache=(--no-cache) ;;
        --cpu) lock="requirements.lock" ;;
        --dry-run) dry_run=1 ;;
        -h|--help) usage; exit 0 ;;
        *) fail "unknown flag $flag; see --help" ;;
    esac
done
[ -n "$model" ] || fail "no model: -n MODEL; see --help"
[ -n "$checkpoint" ] || fail "no checkpoint: -c CHECKPOINT; see --help"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [ -z "$mappings" ] && [ -e "$root/objectnet/mapping_files" ]; then mappings="$root/objectnet/mapping_files"; fi
[ -n "$mappings" ] || fail "no mappings: -m PATH of ObjectNet's mappings folder, or -m none; see --help"
[ -n "$image" ] || fail "no image name: -i IMAGE; see --help"
[ -n "$tag" ] || fail "-t: an empty tag"
[[ "$version" =~ ^[0-9]+\.[0-9]+\.[0-9]+(@sha256:[0-9a-f]{64})?$ ]] || fail "-v $version: a release such as 2.21.0, so that the build can be repeated"

description="$root/objectnet/model/model_description.py"
context="$root/build/submission"
rm -rf "$context"
mkdir -p "$context/mappings" "$context/model"

if [[ "$model" == *.py || "$model" == */* ]]; then
    [ -f "$model" ] || fail "$model: no such model file"
    cp -- "$model" "$context/"
    model="submission/$(basename -- "$model")"
elif [[ "$model" =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] && grep -sqE "^(class|def) $model\b" "$description"; then
    [ -n "$requirements" ] || fail "$model is a PyTorch class, and the image needs PyTorch: -r FILE; see --help"
    cp -- "$root/objectnet/model/"*.py "$context/model/"
else
    python="$root/.venv/bin/python"
    [ -x "$python" ] || python=python3
    problem="$("$python" -I -c 'import sys
sys.path.insert(0, sys.argv[1])
from webvision.model.backbones import named_backbone
try:
    named_backbone(sys.argv[2])
except ValueError as error:
    print(f"{sys.argv[2]}: neither a PyTorch class, a Python file nor a network of this project: {error}")' "$root" "$model")"
    [ -z "$problem" ] || fail "$problem"
fi

checkpoint="${checkpoint%.index}"
if [ -f "$checkpoint.index" ]; then
    cp -- "$checkpoint".index "$checkpoint".data-* "$context/"  # its card, what it means, is in them
    # Checkpoints of before the card have their image size in run.json.
    [ ! -f "$(dirname -- "$checkpoint")/run.json" ] || cp -- "$(dirname -- "$checkpoint")/run.json" "$context/"
elif [ -f "$checkpoint" ]; then
    cp -- "$checkpoint" "$context/"
elif [ -d "$checkpoint" ]; then
    fail "$checkpoint: a folder; name one checkpoint in it, such as $checkpoint/model-1000"
else
    fail "$checkpoint: no such checkpoint (nor $checkpoint.index)"
fi

if [ -n "$requirements" ]; then
    [ -f "$requirements" ] || fail "$requirements: no such file of requirements"
    grep -q -- --hash= "$requirements" || fail "$requirements: no hashes in it; \`uv pip compile --generate-hashes\` writes them"
    cp -- "$requirements" "$context/requirements.txt"
fi

convert=1
if [ "$mappings" = none ]; then
    convert=0
elif [ -d "$mappings" ]; then
    [ ! -d "$mappings/mappings" ] || mappings="$mappings/mappings"
    find "$mappings" -maxdepth 1 -type f \( -name '*.json' -o -name 'imagenet_to_label_2012_v2' \) -exec cp -- {} "$context/mappings/" \;
    [ -n "$(ls -A "$context/mappings")" ] || fail "$mappings: no mapping file in this folder"
elif [ -f "$mappings" ]; then
    cp -- "$mappings" "$context/mappings/imagenet_id_to_objectnet_id.json"
else
    fail "$mappings: no such mappings folder or file"
fi

# A tag can be moved to another image; a digest is the image. The first build keeps it, later ones and other machines (the
# file belongs into version control) build from that image or not at all.
bases="$root/base-images.lock" by_tag=""
if [[ "$version" != *@* ]]; then
    known="$(grep -s -m 1 -x -E "${version//./\\.}@sha256:[0-9a-f]{64}" "$bases" || true)"
    if [ -z "$known" ] && [ -z "$dry_run" ] && command -v docker > /dev/null; then
        docker pull --quiet "tensorflow/tensorflow:$version" > /dev/null
        digest="$(docker image inspect --format '{{index .RepoDigests 0}}' "tensorflow/tensorflow:$version")"
        [[ "$digest" =~ @sha256:[0-9a-f]{64}$ ]] && known="$version${BASH_REMATCH[0]}" && echo "$known" >> "$bases"
    fi
    if [ -n "$known" ]; then version="$known"; else by_tag=1; fi
fi

command=(docker build "${cache[@]}" --build-arg "TENSORFLOW_VERSION=$version" --build-arg "LOCK=$lock"
         --build-arg "MODEL_CLASS_NAME=$model" --build-arg "MODEL_CHECKPOINT=submission/$(basename -- "$checkpoint")"
         --build-arg "CONVERT_OUTPUTS_MODE=$convert" -t "$image:$tag" -f "$root/Dockerfile" "$root")
printf '%q ' "${command[@]}"
echo
if [ -n "$by_tag" ]; then
    echo "build_submission.sh: the base image is named by its tag, which can be moved: the first build writes its digest into $bases" >&2
fi
[ -z "$dry_run" ] || exit 0
command -v docker > /dev/null || fail "docker is not installed here; run the command above where it is"
"${command[@]}"
