"""Every error a user can meet, in one tree.

    UnlearningError                 anything this project refuses or could not do
    ├── InputError                  what the user gave cannot be used
    │   ├── DocumentError           … a document (empty, encrypted, binary, too large, …)
    │   ├── AnchorError             … an anchor dictionary (row, value and mend are named)
    │   ├── PromptError             … a prompt or probe file
    │   └── SettingsError           … a setting or a command-line option
    ├── ModelError                  a model cannot be had
    │   ├── ModelNotFoundError      … no such name, folder or hub id
    │   ├── LicenceError            … its licence was not accepted
    │   └── DownloadError           … no network, or the bytes are not the expected ones
    ├── RunError                    a run cannot do what was asked in its state
    │   ├── RunNotFoundError
    │   ├── RunBusyError            … its worker is alive
    │   └── RunDamagedError         … a file of it cannot be read
    ├── TrainingError               training cannot go on
    │   ├── LossNotFiniteError
    │   └── OutOfMemoryError
    └── EndpointError               a language-model endpoint did not answer usefully

Each carries `message` (what is wrong, with the value) and `hint` (what to do about it);
`str(error)` is both in one line, which is all that a command line or a page shows.
"""


class UnlearningError(Exception):
    """Base of all errors meant for a person.

    Args:
        message: What is wrong, naming the thing and its value. One sentence.
        hint: What to do about it. One sentence, or empty where there is nothing to do.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(f"{message} {hint}".strip())


class InputError(UnlearningError): ...


class DocumentError(InputError): ...


class AnchorError(InputError): ...


class PromptError(InputError): ...


class SettingsError(InputError): ...


class ModelError(UnlearningError): ...


class ModelNotFoundError(ModelError): ...


class LicenceError(ModelError): ...


class DownloadError(ModelError): ...


class RunError(UnlearningError): ...


class RunNotFoundError(RunError): ...


class RunBusyError(RunError): ...


class RunDamagedError(RunError): ...


class TrainingError(UnlearningError): ...


class LossNotFiniteError(TrainingError): ...


class OutOfMemoryError(TrainingError): ...


class EndpointError(UnlearningError): ...
