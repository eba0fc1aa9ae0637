"""TensorBoard logs of runs that several processes work on, one after the other."""

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat


class RestartLogs(BaseCallback):
    """Tells TensorBoard that training starts here: what an earlier process logged of later steps is no longer shown."""

    def _on_training_start(self) -> None:
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat) and output.writer is not None:
                from tensorboard.compat.proto.event_pb2 import Event, SessionLog

                start = Event(step=self.num_timesteps + 1, session_log=SessionLog(status=SessionLog.START))
                output.writer._get_file_writer().add_event(start)

    def _on_step(self) -> bool:
        return True
