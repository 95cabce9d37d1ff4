# Zoobot with PyTorch on a CPU, for who has Docker and no Python:
#
#     docker build -t zoobot .
#     docker run --rm -v "$PWD:/work" zoobot demo
#
FROM python:3.12-slim
# torch and torchvision from one place, that of the builds without CUDA, which are a tenth of the size
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch torchvision
COPY . /opt/zoobot
RUN pip install --no-cache-dir "/opt/zoobot[pytorch,fits,onnx]" && rm -rf /opt/zoobot
# files that are written into the folder of the host belong to an ordinary user: `--user "$(id -u)"` names you
RUN useradd --create-home astronomer
USER astronomer
ENV HF_HOME=/tmp/huggingface MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /work
ENTRYPOINT ["zoobot"]
CMD ["--help"]
