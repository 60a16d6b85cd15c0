"""An Optuna script, as it was before hpo: a classifier of digits, trained in rounds, pruned by the median."""

import optuna
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split


def objective(trial):
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(images / 16, labels, random_state=0)
    loss = trial.suggest_categorical("loss", ["log_loss", "hinge"])
    alpha = trial.suggest_float("alpha", 1e-6, 1e-1, log=True)
    averaged = trial.suggest_int("averaged_from", 10, 1000) if loss == "hinge" else False
    model = SGDClassifier(loss=loss, alpha=alpha, average=averaged, random_state=0)
    for step in range(5):
        model.partial_fit(train_x, train_y, classes=range(10))
        accuracy = model.score(test_x, test_y)
        trial.report(accuracy, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("weights", int(model.coef_.size))
    return accuracy


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=20)
    print(study.best_params)
