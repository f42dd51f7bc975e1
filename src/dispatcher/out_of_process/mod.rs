//! Applications in processes of their own: requests go to an instance, answers come back.
