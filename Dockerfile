# Torch's ordinary wheels bring their CUDA libraries; the host brings the driver (docker run --gpus all).
FROM python:3.11-slim

RUN useradd --create-home saddle
WORKDIR /saddle

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY attacks attacks
COPY callbacks callbacks
COPY command_line command_line
COPY datamodules datamodules
COPY lightning_modules lightning_modules
COPY paint paint
COPY reports reports
COPY configs configs
COPY *.py ./
RUN pip install --no-cache-dir --constraint constraints.txt --editable . \
    && mkdir runs && chown saddle runs

USER saddle
VOLUME /saddle/runs
ENTRYPOINT ["python", "cli.py"]
CMD ["--help"]
